"""Runs a study: as many runs side by side as asked for, what is done already left out.

Killed at any moment, or stopped, it goes on by the same call.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparl import validation
from sparl.errors import BadValue
from sparl.storage import exclusive_folder, quoted
from sparl.sweeps.folder import SweepFolder
from sparl.sweeps.lockstep import LockstepRunner
from sparl.sweeps.pool import Pool, usable_cores
from sparl.sweeps.runner import Runner, Stop, SweepResult
from sparl.sweeps.search import SearchRunner
from sparl.sweeps.study import Study
from sparl.training import Interrupted


def sweep(
    study: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    quiet: bool = False,
    retry: bool = True,
) -> SweepResult:
    """Trains every variant of a study with every seed in every environment, side by side.

    Each run is a process of `sparl train` with one core; in lockstep the seeds of a variant are one
    compiled program in this process. Curves and figures of the runs are added to `curves.csv` and
    `runs.csv` as they end; what `sparl compare` writes follows at the end. Called again after a
    kill, Ctrl-C or a failure, it goes on with what is not done.

    Args:
        study: A YAML file, or what such a file holds: `envs`, `variants`, `seeds`, `steps`,
            `options` and `lockstep`; or `search` in place of `variants`.
        out: The folder of the sweep; `runs/STUDY` if not given, by the file's name.
        jobs: Runs side by side; one for each core if not given.
        quiet: Print no progress.
        retry: Try runs again that failed in an earlier call.

    Returns:
        The run folders, logs of failed runs, and comparisons, or the trials of a search. Failures
        are told, not raised.

    Raises:
        SparlError: The study cannot be run; nothing has begun then.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, with all runs saved.
    """
    cores = usable_cores()
    size = len(cores) if jobs is None else jobs
    validation.at_least(1, jobs=size)
    of_file = None if isinstance(study, Mapping) else Path(study)
    if out is None and of_file is None:
        raise BadValue("out is missing: a study that is no file has no name to call a folder by")
    planned = Study.of(study) if isinstance(study, Mapping) else Study.read(Path(study))
    folder = SweepFolder(Path("runs") / (of_file or Path()).stem if out is None else Path(out))
    again = "the same call goes on with them"
    if of_file is not None:
        again = f"go on with: sparl sweep {quoted(of_file)} --out {quoted(folder.path)}"
        again += "" if jobs is None else f" --jobs {jobs}"
    if planned.lockstep and jobs is not None:
        raise BadValue(f"jobs is {jobs}: in lockstep all seeds are one process. Leave one out")
    if planned.search is not None:
        runner = SearchRunner(folder, planned, quiet)
    else:
        kind = LockstepRunner if planned.lockstep else Runner
        runner = kind(folder, planned.jobs(), quiet)
    runner.retries = retry
    with exclusive_folder(folder.path):
        with Pool(cores, size) as pool, Stop() as stop, runner.progress:
            runner.run(pool, stop)
        if stop.signal is not None:
            left = sum(state not in ("done", "pruned") for state in runner.states.values())
            raise Interrupted(stop.signal, f"{left} of {len(runner.jobs)} runs are left; {again}")
        return runner.result()
