"""How pictures and tables look: colours for the colour-blind, too, and labels at line ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito, without the yellow, which is too pale for a line."""
TITLE_FONT, FONT, LABEL_FONT = 11, 9, 8
"""Points."""


def blank(width: float, height: float) -> Figure:
    """A figure of so many inches, without panels."""
    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def plain(axes: Axes) -> None:
    """A panel with a faint grid and no frame on top and right."""
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=FONT)
    axes.title.set_fontsize(TITLE_FONT)


def caption(figure: Figure, *sentences: str) -> None:
    """Lines under the panels."""
    figure.supxlabel("\n".join(sentences), fontsize=LABEL_FONT, color="#444444")


@dataclass(frozen=True)
class Look:
    """Of a line."""

    colour: str
    style: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """One for each variant: dense is black; *tiny* is dashed, in the colour of what it controls.

    `tiny-1-8` is a control of the one variant that has `-1-8` in its name, if there is just one.
    """
    controlled = {name: _controlled(name, names) for name in names if name.startswith("tiny")}
    found: dict[str, Look] = {}
    for name in names:
        if name == "dense":
            found[name] = Look("black", "-")
        elif controlled.get(name) is None:
            turn, place = divmod(
                sum(look.colour != "black" for look in found.values()), len(PALETTE)
            )
            again = ("-", "-.", ":")[turn % 3]
            found[name] = Look(PALETTE[place], "--" if name in controlled else again)
    found |= {n: Look(found[of].colour, "--") for n, of in controlled.items() if of is not None}
    return found


def _controlled(tiny: str, names: Sequence[str]) -> str | None:
    suffix = tiny.removeprefix("tiny")
    if not suffix:
        return None
    of = [n for n in names if n != tiny and re.search(rf"{re.escape(suffix)}(-|$)", n)]
    return of[0] if len(of) == 1 else None


@dataclass(frozen=True)
class End:
    """Where a line ends, in data coordinates, and what is written there."""

    x: float
    y: float
    text: str
    colour: str


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Writes names to the right of a panel, each joined to the end of its line.

    Names keep the order of the ends and stay near them, but do not overlap. Call it when the panel
    has its final limits and scales.
    """
    if not ends:
        return
    to_fraction = axes.transData + axes.transAxes.inverted()
    wanted = to_fraction.transform([(end.x, end.y) for end in ends])[:, 1]
    inches = axes.get_position().height * axes.figure.get_figheight()
    places = spread(wanted, 1.35 * LABEL_FONT / 72 / inches)
    for end, place in zip(ends, places, strict=True):
        line = {"arrowstyle": "-", "color": end.colour, "lw": 0.8, "ls": ":", "relpos": (0, 0.5)}
        axes.annotate(
            end.text,
            (end.x, end.y),
            (1.04, place),
            textcoords="axes fraction",
            arrowprops={**line, "shrinkA": 1, "shrinkB": 0},
            **{"va": "center", "fontsize": LABEL_FONT, "color": end.colour},
            annotation_clip=False,
        )
        axes.plot(end.x, end.y, "o", color=end.colour, ms=3.5, clip_on=False)


def spread(wanted: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """The places in [0, 1] nearest to the wanted ones that are in their order and a gap apart."""
    order, gaps = np.argsort(wanted), gap * np.arange(len(wanted))
    # Less the gaps below it, a place must only not be below the one before: isotonic regression.
    found = isotonic_regression(wanted[order] - gaps).x
    places = np.empty(len(wanted))
    places[order] = np.clip(found, 0, max(1 - gaps[-1], 0)) + gaps
    return places


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; a column without a single entry is left out."""
    shown = [i for i in range(len(header)) if any(row[i] for row in rows)]
    lines = [[header[i] for i in shown], *([row[i] for i in shown] for row in rows)]
    first, *others = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([first, "|---" * len(shown) + "|", *others]) + "\n"
