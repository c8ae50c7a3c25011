"""`sparl report`: one HTML page about runs, finished or not, that needs nothing but itself.

What stands on it is `contents` (all runs of an environment) and `parts` (one run), drawn by
`charts` (SVG), `matrices` (PNG) and `film`. `page.html` is the template, `page.css` its style.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sparl.analysis.runs import folders
from sparl.errors import BadRun, BadValue
from sparl.storage import files

if TYPE_CHECKING:  # what draws is imported when there is something to draw
    from sparl.analysis.html.environment_section import Environment
    from sparl.analysis.html.run_section import Part


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path = "report.html",
    *,
    video: bool = True,
    quiet: bool = True,
) -> Path:
    """Writes a page about runs; answers with its path.

    - `runs`: run folders, and folders that have run folders directly inside.
    - `out`: the file, replaced where there is one.
    - `video`: film the first run of each variant. Where that cannot be done the page says why.
    - `quiet`: do not tell on stderr what is being made.

    The same folders give the same bytes, but for films. What a folder cannot tell (its run is not
    finished, its checkpoint of an older sparl) is left out, and the page says so. Raises `BadRun`
    where there is no run, `BadCheckpoint` for a config.json that cannot be read, `BadValue` for a
    file that cannot be written.
    """
    from sparl.analysis.html.environment_section import environments
    from sparl.analysis.html.read_run import read
    from sparl.analysis.html.template import render

    out = Path(out)
    paths = folders([runs] if isinstance(runs, str | Path) else runs)
    if not paths:
        raise BadRun("no runs to report on: name run folders, or folders that contain run folders")
    if out.is_dir() or not out.parent.is_dir():
        raise BadValue(f"{out} cannot be written: name a file in an existing folder")
    console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
    shown = []
    for path in paths:
        console.print(f"reading {path}", markup=False)
        shown.append(read(path))
    found = environments(shown)
    for environment in found:
        _add_films(environment, video, console)
    try:
        files.write_bytes(out, render(found).encode())
    except OSError as error:
        raise BadValue(f"{out} cannot be written: {error.strerror}. Name another place") from error
    return out


def _add_films(environment: Environment, video: bool, console: Console) -> None:
    """To the first part of each variant that has a policy; the others say where to look."""
    filmed: dict[str, Part] = {}
    for part in environment.parts:
        if not video:
            part.no_film = "Not filmed, as asked for (--no-video)."
        elif part.run.policy is None:
            part.no_film = "Not filmed: there is no policy."
        elif part.label in filmed:
            part.no_film = f"Of this variant, {filmed[part.label].name} is filmed."
        else:
            console.print(f"filming {part.run.path}", markup=False)
            _film(part)
            filmed[part.label] = part


def _film(part: Part) -> None:
    from sparl.analysis.html.film import film

    assert part.run.policy is not None
    try:
        part.film = film(part.run.config, part.run.policy, part.run.config.seed)
    except Exception as error:  # an environment may raise anything, and shall not cost the page
        part.no_film = f"Not filmed: {error}"
