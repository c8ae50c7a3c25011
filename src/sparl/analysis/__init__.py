"""What finished runs tell: comparison, statistics, tables, plots, films and the HTML report."""

from sparl.analysis.comparison import compare
from sparl.analysis.html.report import report
from sparl.analysis.variants import Setting, also_differ, labels

__all__ = [
    "Setting",
    "also_differ",
    "compare",
    "labels",
    "report",
]
