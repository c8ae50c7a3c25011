"""What sparl prints, as pictures: each command in a terminal of 80 and of 120 columns.

    pip install pyte
    python recipes/terminal.py                       # all of them, into docs/guides/terminal/
    python recipes/terminal.py --only compare eval   # these alone, if what they need is there

Commands run one after the other in a folder of their own (`--runs`), each in a pseudo-terminal. Its
screen is drawn as it is when the command has ended, or in the midst of it. Runs are far too short
to have learned anything: this is about what a person sees.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyte
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = 80, 120
ROWS = 300
SHOWN = 60
"""Lines of a picture at most: help texts are long."""


class Shot(NamedTuple):
    """A picture of a command."""

    name: str
    command: str
    midst: str = ""
    """Take it when this has been printed, while the command goes on; at its end if empty."""


SHORT = "--steps 20000 --eval-every 5000 --eval-episodes 5"
SHOTS = (
    Shot("help", "sparl --help"),
    Shot("list", "sparl list"),
    Shot("train-help", "sparl train --help --agent sac --method rnm"),
    Shot("typo", "sparl train CartPole-v1 --agent dqn --lr 0.01"),
    Shot("check", "sparl check CartPole-v1"),
    Shot("training", f"sparl train --preset CartPole-v1 {SHORT} --out runs/midst", midst="best"),
    Shot("train", f"sparl train --preset CartPole-v1 {SHORT} --out runs/first"),
    Shot("dense", f"sparl train --preset CartPole-v1 {SHORT} --method dense --out runs/dense"),
    Shot("inspect", "sparl inspect runs/first"),
    Shot("eval", "sparl eval runs/first"),
    Shot("prune", "sparl prune runs/dense --method dsp --steps 10000 --out runs/pruned"),
    Shot("transfer", "sparl transfer runs/first CartPole-v1 --steps 10000 --out runs/moved"),
    Shot("distill", "sparl distill runs/first --hidden 4 4 --steps 10000 --out runs/student"),
    Shot("export", "sparl export runs/first --dtype int8 --out c"),
    Shot("compare", "sparl compare runs/first runs/dense"),
    Shot("report", "sparl report runs/first"),
    Shot("sweep", "sparl sweep study.yaml"),
)
STUDY = """\
envs: [CartPole-v1]
seeds: 0-2
steps: 10_000
options: {agent: ppo, rollout: 256, eval_every: 2_000}
variants:
  rnm-1-8: {method: rnm, pattern: 1:8}
  dense: {}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=[shot.name for shot in SHOTS])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "terminal")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "guides" / "terminal")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        folder = asked.runs / str(width)
        if asked.only is None:  # runs that are there would be refused
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.yaml").write_text(STUDY)
        for shot in SHOTS:
            if asked.only is None or shot.name in asked.only:
                print(f"{width}: {shot.command}", flush=True)
                text = screen(shot, width, folder)
                (asked.out / f"{shot.name}-{width}.svg").write_text(drawn(shot, text, width))


def screen(shot: Shot, width: int, folder: Path) -> Text:
    """What the terminal shows of a command."""
    emulated = pyte.Screen(width, ROWS)
    stream = pyte.ByteStream(emulated)
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 45, width, 0, 0))
    # The one beside this Python, whichever environment is active.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = os.environ | {"TERM": "xterm-256color", "PATH": path}
    process = subprocess.Popen(
        shlex.split(shot.command), cwd=folder, env=settings, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    taken: Text | None = None
    while True:
        ready, _, _ = select.select([parent], [], [], 0.2)
        if ready:
            try:
                given = os.read(parent, 65536)
            except OSError:  # Linux tells the end so
                break
            if not given:
                break
            stream.feed(given)
        if shot.midst and any(shot.midst in line for line in emulated.display):
            taken = read(emulated)
            process.terminate()
            time.sleep(1)
            break
    os.close(parent)
    process.wait()
    return read(emulated) if taken is None else taken


def read(emulated: pyte.Screen) -> Text:
    """The lines of a screen with their styles."""
    last = max((n for n, line in enumerate(emulated.display) if line.strip()), default=0)
    lines = []
    for number in range(min(last + 1, SHOWN)):
        row, line = emulated.buffer[number], Text()
        columns = range(len(emulated.display[number].rstrip()))
        for look, same in groupby(columns, key=lambda column: style(row[column])):
            line.append("".join(row[column].data or " " for column in same), look)
        lines.append(line)
    if last + 1 > SHOWN:
        lines.append(Text("…"))
    return Text("\n").join(lines)


def style(seen: pyte.screens.Char) -> Style:
    """rich's style of a character on pyte's screen."""
    return Style(
        color=color(seen.fg),
        bgcolor=color(seen.bg),
        bold=seen.bold,
        italic=seen.italics,
        underline=seen.underscore,
        reverse=seen.reverse,
    )


def color(name: str) -> Color | None:
    """rich's colour by pyte's name of it: a word, or six hexadecimal digits."""
    if name == "default":
        return None
    if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name):
        return Color.parse(f"#{name}")
    return Color.parse({"brown": "yellow"}.get(name, name.replace("bright", "bright_")))


THEME = TerminalTheme(
    (255, 255, 255),
    (40, 40, 40),
    [
        *((40, 40, 40), (178, 34, 52), (30, 120, 60), (150, 100, 0)),
        *((30, 80, 170), (130, 50, 140), (0, 110, 130), (110, 110, 110)),
    ],
)
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, monospace }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
<rect fill="#fff" stroke="#ccc" width="{width}" height="{height}" rx="6"/>
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def drawn(shot: Shot, text: Text, width: int) -> str:
    """A picture, as SVG with the reader's own fonts."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True)
        console.print(Text(f"$ {shot.command}\n", "bold") + text, soft_wrap=True)
        return console.export_svg(
            title="", theme=THEME, code_format=FRAME, unique_id=f"{shot.name}-{width}"
        )


if __name__ == "__main__":
    main()
