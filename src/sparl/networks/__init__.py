"""Networks made of layers: how they are wired, built, measured and described."""

from sparl.networks.accounting import Footprint, Shapes
from sparl.networks.builders import KINDS, Kind, build, feature_tower
from sparl.networks.by_batch import all_by_batch, by_batch, with_statistics
from sparl.networks.clipped import with_clipped_output
from sparl.networks.folding import folded
from sparl.networks.network import (
    Network,
    Networks,
    apply_all,
    assembled,
    dense_copy,
    layer_names,
    plain,
    then,
)
from sparl.networks.norms import (
    BATCH_MEMORY,
    LAYER_EPSILON,
    NORMS,
    AnyNorm,
    BatchNorm,
    LayerNorm,
    Norm,
)
from sparl.networks.observation_norm import EPSILON, Normalization, RunningStatistics
from sparl.networks.views import EVERYTHING, Ranges, Views, select_ranges
from sparl.networks.views import size as range_size
from sparl.networks.wiring import (
    IN_JAX,
    IN_NUMPY,
    Arrays,
    NormPlace,
    Place,
    Stage,
    Wiring,
    chain,
    run,
)

__all__ = [
    "BATCH_MEMORY",
    "EPSILON",
    "EVERYTHING",
    "IN_JAX",
    "IN_NUMPY",
    "KINDS",
    "LAYER_EPSILON",
    "NORMS",
    "AnyNorm",
    "Arrays",
    "BatchNorm",
    "Footprint",
    "Kind",
    "LayerNorm",
    "Network",
    "Networks",
    "Norm",
    "NormPlace",
    "Normalization",
    "Place",
    "Ranges",
    "RunningStatistics",
    "Shapes",
    "Stage",
    "Views",
    "Wiring",
    "all_by_batch",
    "apply_all",
    "assembled",
    "build",
    "by_batch",
    "chain",
    "dense_copy",
    "feature_tower",
    "folded",
    "layer_names",
    "plain",
    "range_size",
    "run",
    "select_ranges",
    "then",
    "with_clipped_output",
    "with_statistics",
]
