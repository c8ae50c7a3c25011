"""Renders the report as HTML. Everything but our own markup is escaped, names of runs included."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment as Jinja
from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sparl.analysis.html.environment_section import EnvironmentSection

HERE = Path(__file__).parent


def render(environments: Sequence[EnvironmentSection]) -> str:
    """Gives the text of the report."""
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
    return jinja.get_template("report.html").render(
        environments=environments,
        sections=[section for env in environments for section in env.run_sections],
        css=Markup((HERE / "report.css").read_text()),
        version=importlib.metadata.version("sparl"),
    )
