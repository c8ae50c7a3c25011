"""Networks made of layers: how they are wired, built, measured and described."""

from sparl.networks.accounting import Footprint, Shapes
from sparl.networks.builders import KINDS, Kind, build, feature_tower
from sparl.networks.network import (
    Network,
    Networks,
    apply_all,
    dense_copy,
    layer_names,
    plain,
    then,
)
from sparl.networks.norms import BATCH_MEMORY, LAYER_EPSILON, BatchNorm, LayerNorm
from sparl.networks.observation_norm import EPSILON, Normalization, RunningStatistics
from sparl.networks.wiring import IN_NUMPY, Arrays, Norm, Stage, Wiring, chain, run

__all__ = [
    "BATCH_MEMORY",
    "EPSILON",
    "IN_NUMPY",
    "KINDS",
    "LAYER_EPSILON",
    "Arrays",
    "BatchNorm",
    "Footprint",
    "Kind",
    "LayerNorm",
    "Network",
    "Networks",
    "Norm",
    "Normalization",
    "RunningStatistics",
    "Shapes",
    "Stage",
    "Wiring",
    "apply_all",
    "build",
    "chain",
    "dense_copy",
    "feature_tower",
    "layer_names",
    "plain",
    "run",
    "then",
]
