"""The page as HTML. Whatever is not markup of ours is escaped: run names are anybody's text."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment as Jinja
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sparl.analysis.comparison import Comparison, Variant
from sparl.analysis.html.environment_section import Environment
from sparl.analysis.tables import COLUMNS, headline

HERE = Path(__file__).parent


def render(environments: Sequence[Environment]) -> str:
    """One page about all of them."""
    jinja = Jinja(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["count"] = lambda number: f"{number:,}"
    jinja.filters["percent"] = lambda share: f"{share:.1%}"
    jinja.filters["product"] = math.prod
    jinja.filters["by"] = lambda shape: f"{shape[0]} × {shape[1]}"
    return jinja.get_template("page.html").render(
        environments=environments,
        parts=[part for environment in environments for part in environment.parts],
        columns_of=_columns,
        headline=headline,
        css=Markup((HERE / "page.css").read_text()),
        version=importlib.metadata.version("sparl"),
    )


def _columns(comparison: Comparison) -> list[tuple[str, Callable[[Variant], str]]]:
    """Heading and cell of each column of `sparl compare` that says something of any variant."""
    return [(h, cell) for h, cell in COLUMNS if any(cell(v) for v in comparison.variants)]
