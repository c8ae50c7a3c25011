"""All pictures and tables of `results/`, from the data files beside them.

    python recipes/figures.py                             # make what is missing or stale
    python recipes/figures.py rnm_td3/patterns speed      # of these folders alone
    python recipes/figures.py --all                       # make everything again
    python recipes/figures.py --check                     # make nothing, fail if anything is stale

Stale is what was made from other data, or by other code, than there is now (`drawing/output.py`).
A new study is found by its `curves.csv`. `recipes/` calls the same functions after every run, and
`tests/results` fails where something is stale or belongs to no data.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from drawing import (
    by_clock,
    claims,
    clock,
    cost,
    episodes,
    minutes,
    presets,
    race,
    regret,
    roofline,
    smaller,
    speed,
    spread,
    step,
    students,
    study,
)
from drawing.data import CURVES, SPEEDS
from drawing.output import Output

RESULTS = Path(__file__).resolve().parent.parent / "results"
NOTES = ("after", "looks")
"""Folders of raw curves that `results/README.md` tells of, with neither picture nor table."""


def registry(results: Path = RESULTS) -> list[Output]:
    """Every picture and table there is to be, and what each is made from."""
    found: list[Output] = []
    for path in sorted(results.glob(f"**/{CURVES}")):
        if path.parent.name not in NOTES:
            found += study.outputs(path.parent)
    for path in sorted(results.glob(f"**/{SPEEDS}")):
        found += minutes.outputs(path.parent)
    for path in sorted(results.glob(f"**/{episodes.EPISODES}")):
        found += episodes.outputs(path.parent)
    found += clock.outputs(results / "larger_networks" / "halfcheetah-clock")
    found += race.outputs(results / "go1")
    found += smaller.outputs(results / "go1")
    found += regret.outputs(results / "sparse_mdp")
    found += spread.outputs(results / "sparse_mdp")
    found += cost.outputs(results / "device")
    found += students.outputs(results / "distillation")
    found += presets.outputs(results / "presets")
    found += by_clock.outputs(results / "presets")
    found += speed.outputs(results / "speed")
    found += step.outputs(results / "speed")
    found += roofline.outputs(results / "speed")
    found += claims.outputs(results / "claims")
    return found


def strays(results: Path = RESULTS) -> list[Path]:
    """Pictures and tables that nothing makes."""
    known = {output.path for output in registry(results)} | {results / "README.md"}
    return sorted({*results.glob("**/*.png"), *results.glob("**/*.md")} - known)


def make(outputs: Iterable[Output]) -> None:
    """Writes each, and tells its path."""
    for output in outputs:
        output.write()
        print(output.path, flush=True)


def chosen(outputs: Sequence[Output], folders: Sequence[str]) -> list[Output]:
    """Those in any of the folders, which are paths below `results/`; all if there are none."""
    found = [RESULTS / folder for folder in folders]
    unknown = [f for f in found if not any(f in output.path.parents for output in outputs)]
    if unknown:
        raise SystemExit(f"nothing is made in {', '.join(map(str, unknown))}")
    return [o for o in outputs if not found or any(f in o.path.parents for f in found)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", metavar="STUDY", nargs="*", help="a folder below results/")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--all", action="store_true", help="what is fresh, too")
    instead.add_argument("--check", action="store_true", help="make nothing, fail if need be")
    asked = parser.parse_args()
    found = chosen(registry(), asked.folders)
    if missing := [str(path) for output in found for path in output.missing()]:
        raise SystemExit(f"data are missing: {', '.join(missing)}")
    stale = found if asked.all else [output for output in found if output.stale()]
    if not asked.check:
        make(stale)
        return
    wrong = [f"stale: {output.path}" for output in stale]
    wrong += [f"nothing makes {path}" for path in strays()]
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
