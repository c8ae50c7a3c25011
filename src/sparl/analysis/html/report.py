"""`sparl report`: one HTML file about runs, finished or not, that needs no other file.

`read_run` reads the runs. `environment_section` and `run_section` hold what the report shows, all
runs of an environment and one run. `charts` (SVG), `matrices` (PNG) and `film` draw. `template`
turns the sections into HTML with `report.html` and `report.css`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparl.analysis.runs import run_folders
from sparl.errors import BadRun, BadValue
from sparl.storage import RunFolder, accept, files
from sparl.training import Console, Which

if TYPE_CHECKING:  # modules that draw are imported when there is something to draw
    from sparl.analysis.html.environment_section import EnvironmentSection
    from sparl.analysis.html.run_section import RunSection


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path = "report.html",
    *,
    video: bool = True,
    which: Which = "final",
    quiet: bool = True,
    trust: bool = False,
) -> Path:
    """Writes an HTML report of runs.

    The same folders give the same bytes, except for films. What a folder does not have (because
    its run is not finished, or its checkpoint is of an older sparl) is left out, and the report
    says so.

    Args:
        runs: Run folders, folders that contain run folders directly, and folders of sweeps.
        out: The file; an existing one is replaced.
        video: Film the first run of each variant. If that is impossible, the report says why.
        which: Of each run's policies: the final one, or the one of the best evaluation. Its
            layers are shown, and it is filmed.
        quiet: Print no progress on stderr.
        trust: Make environments of runs that others wrote, though that runs the modules that they
            name.

    Returns:
        The path of the report.

    Raises:
        BadRun: There is no run.
        BadFile: A config.json cannot be read.
        BadValue: The file cannot be written.
    """
    from sparl.analysis.html.environment_section import environment_sections
    from sparl.analysis.html.read_run import read
    from sparl.analysis.html.template import render

    out = Path(out)
    paths = run_folders([runs] if isinstance(runs, str | Path) else runs)
    if not paths:
        raise BadRun("no runs to report on: name run folders, or folders that contain run folders")
    if out.is_dir() or not out.parent.is_dir():
        raise BadValue(f"{out} cannot be written: name a file in an existing folder")
    for path in paths:
        accept(path, trust)
    console = Console(stderr=True, quiet=quiet, soft_wrap=True)
    read_runs = []
    for path in paths:
        console.print(f"reading {path}")
        read_runs.append(read(path, which))
    environments = environment_sections(read_runs)
    for environment in environments:
        _add_films(environment, video, console)
    try:
        files.write_bytes(out, render(environments).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise BadValue(f"{out} cannot be written: {error.strerror}. Name another place") from error
    return out


def _add_films(environment: EnvironmentSection, video: bool, console: Console) -> None:
    """Films the first run of each variant that has a policy; the other sections name that run."""
    filmed: dict[str, RunSection] = {}
    for section in environment.run_sections:
        if not video:
            section.no_film = "Not filmed, as no video was wanted."
        elif section.run.policy is None:
            section.no_film = "Not filmed: there is no policy."
        elif section.label in filmed:
            section.no_film = (
                f"Not filmed: {filmed[section.label].name} is filmed for this variant."
            )
        else:
            console.print(f"filming {section.run.path}")
            _film(section)
            filmed[section.label] = section


def _film(section: RunSection) -> None:
    from sparl.analysis.html.film import film

    assert section.run.policy is not None
    try:
        run = RunFolder(section.run.path).runnable()
        if run.eval_env == "shared":
            section.no_film = (
                "Not filmed: of its environment there may be one instance only (eval_env shared)."
            )
            return
        section.film = film(run, section.run.policy, section.run.config.seed)
    except Exception as error:  # an environment may raise anything; the report is written anyway
        section.no_film = f"Not filmed: {error}"
