"""SµPar's learning rates: sparse layers take larger steps (Dey et al., 2405.15743, NeurIPS 2024).

The paper says, and its authors' code (EleutherAI/nanoGPT-mup, branch supar) has it so:
- A sparse layer of density rho, the share of its weights that it keeps, moves like a dense one if
  the variance of its start and, under Adam, its learning rate are both multiplied by 1/rho. (Its
  1/width is of muP, and left out here.)
- Only the weights of sparse layers are multiplied. Biases and parameters of norms keep the rate.
- AdamW's decay is a part of the step, so it is multiplied, too.
- It is derived for random static masks. Under RigL and gradual magnitude pruning it corrects too
  much: the best rate then depends on the density again.

Our reading, where the paper has no such case:
- First layers and heads are counted like all others, each by its own density. The authors'
  embeddings are dense.
- When a method changes a layer's density, the factor follows it from the next update on.
- A layer that is cut to fewer neurons is a smaller dense one: its factor is 1.
- The density of circulant blocks is the share of the entries of W that are not left out, however
  few values they share. With straight-through gradients dormant weights have their layer's factor.
- Only the optimizer's step is multiplied. What a method does behind it (a penalty, a decay of
  dormant weights) goes by the part's learning rate.

The start is the method's. `scaled_to_norm` (`keep_norm`) gives kept weights 1/rho times the mean
square of all, which is the paper's variance, exactly for each layer. (Of rnm they are the largest
of their groups, so they are no Gaussian.) Without it the start lacks that factor. A method that
starts dense has no sparse start. Behind a batch norm the start's scale does not change the output.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sparl.layouts import Layout
from sparl.learner.structure import Structure


def step_factors(structure: Structure) -> Float[NDArray[np.float32], " values"] | None:
    """What an optimizer's step of each value is multiplied by: 1/rho, or 1 for what is no weight.

    Args:
        structure: Of the part that takes the step. Densities follow from its shapes.

    Returns:
        A factor for each value, in the order of the part's flat vector; None if all are 1.
    """

    def of_node(node: Any) -> Any:
        ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), node)
        if not isinstance(node, Layout):
            return ones
        return eqx.tree_at(lambda layer: layer.weight, ones, replace_fn=lambda w: w / density(node))

    factors = structure.aligned(of_node, Layout)
    return None if (factors == 1).all() else factors


def density(layer: Layout) -> float:
    """rho: the share of the entries of W that take part in a layer's product, above 0."""
    return max(layer.macs, 1) / math.prod(layer.shape)
