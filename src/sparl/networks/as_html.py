"""Tables for notebooks, which show an object by its `_repr_html_`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sparl.networks import accounting
from sparl.networks.network import Network

RIGHT = 'style="text-align:right"'


def table_as_html(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML, whose first column has names and whose others have numbers.

    Args:
        caption: Stands above it.
        headings: Of the columns; none for a table without.
        rows: Texts; all are escaped.
    """

    def cells(tag: str, texts: Sequence[str]) -> str:
        aligned = ["", *[f" {RIGHT}"] * (len(texts) - 1)]
        pairs = zip(aligned, texts, strict=True)
        return "".join(f"<{tag}{style}>{escape(text)}</{tag}>" for style, text in pairs)

    head = f"<thead><tr>{cells('th', headings)}</tr></thead>" if headings else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    title = f'<caption style="text-align:left">{escape(caption)}</caption>'
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"


def network_as_html(caption: str, network: Network) -> str:
    """What each layer of a network stores, as a table in HTML."""
    (report,) = accounting.report({"": network})["networks"].values()
    rows = [
        [
            layer["name"],
            " ".join(filter(None, [layer["layout"], layer["pattern"]])),
            f"{layer['shape'][0]} × {layer['shape'][1]}",
            *(f"{layer[key]:,}" for key in ("kept", "bytes", "macs")),
        ]
        for layer in report["layers"]
    ]
    totals = (f"{report[key]:,}" for key in ("weights_kept", "bytes", "macs"))
    headings = ("layer", "layout", "out × in", "weights", "bytes", "multiply-adds")
    return table_as_html(caption, headings, [*rows, ["total", "", "", *totals]])
