"""What finished runs show: comparisons, statistics, tables, plots, films and the HTML report.

`plots`, `tables`, `runs`, `statistics` and `video` are modules of this package that are imported
where they are needed, because matplotlib and SciPy take longer to import than most commands run.
"""

from sparl.analysis.comparison import Comparison, compare
from sparl.analysis.html.card import card
from sparl.analysis.html.report import report
from sparl.analysis.variant import Variant
from sparl.analysis.variants import VariantConfig, other_differences, variant_labels

__all__ = [
    "Comparison",
    "Variant",
    "VariantConfig",
    "card",
    "compare",
    "other_differences",
    "report",
    "variant_labels",
]
