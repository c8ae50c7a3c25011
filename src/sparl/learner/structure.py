"""Networks as views into two flat vectors, values and indices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, Int32
from numpy.typing import NDArray

from sparl.networks import BatchNorm, Network


@dataclass(frozen=True)
class Structure:
    """Where the arrays of some networks lie in two flat vectors, values and indices.

    Hashable and compared by value: two structures are equal exactly when a function compiled for
    one serves the other.
    """

    treedef: Any  # jax's PyTreeDef: hashable, compared by value
    shapes: tuple[tuple[int, ...], ...]
    is_index: tuple[bool, ...]
    holds_networks: bool

    @classmethod
    def of(cls, networks: dict[str, Any]) -> Structure:
        """Of networks by name, or of bare arrays by name."""
        leaves, treedef = jax.tree.flatten(networks)
        return cls(
            treedef,
            tuple(leaf.shape for leaf in leaves),
            tuple(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in leaves),
            holds_networks(networks),
        )

    def sizes(self, arrays: int | None = None) -> tuple[int, int]:
        """How many values and how many indices there are, in all or the first so many arrays."""
        sizes = [0, 0]
        for shape, is_index in zip(self.shapes[:arrays], self.is_index[:arrays], strict=True):
            sizes[is_index] += math.prod(shape)
        return sizes[0], sizes[1]

    def spans(self, name: str) -> tuple[slice, slice]:
        """Where one network lies: it is one piece of either vector."""
        numbered = jax.tree.unflatten(self.treedef, range(len(self.shapes)))[name]
        numbers = jax.tree.leaves(numbered)
        begin, end = self.sizes(numbers[0]), self.sizes(numbers[-1] + 1)
        return slice(begin[0], end[0]), slice(begin[1], end[1])

    def flatten(self, networks: dict[str, Any]) -> Float[Array, " values"]:
        """The trained values of `networks` (or of a gradient of their shape) as one vector."""
        return self._concatenate(networks, index=False, dtype=jnp.float32)

    def flatten_indices(self, networks: dict[str, Any]) -> Int32[Array, " indices"]:
        return self._concatenate(networks, index=True, dtype=jnp.int32)

    def networks(
        self, values: Float[Array, " values"], indices: Int32[Array, " indices"]
    ) -> dict[str, Any]:
        """Networks as views: anything aligned with the values may stand in their place.

        Outside of a compiled function they are copies, cut in NumPy: JAX would compile every slice
        for its place.
        """
        if _traced([values, indices]):
            return self._views(values, indices)
        return jax.tree.map(_copied, self._views(np.asarray(values), np.asarray(indices)))

    def positions(self) -> dict[str, Any]:
        """The networks with, in place of every number, where in its flat vector it lies; in NumPy
        arrays, for which nothing is compiled."""
        count, index_count = self.sizes()
        # Floats, as numbers are; float32 would tell no two positions apart from 2**24 on.
        return self._views(np.arange(count, dtype=np.float64), np.arange(index_count))

    def _views(self, values: Any, indices: Any) -> dict[str, Any]:
        leaves, value_at, index_at = [], 0, 0
        for shape, is_index in zip(self.shapes, self.is_index, strict=True):
            size = math.prod(shape)
            if is_index:
                leaves.append(indices[index_at : index_at + size].reshape(shape))
                index_at += size
            else:
                leaves.append(values[value_at : value_at + size].reshape(shape))
                value_at += size
        return jax.tree.unflatten(self.treedef, leaves)

    def trained(self) -> NDArray[np.bool_] | None:
        """Which values an optimizer trains; None for all of them.

        The others are running statistics of batch norms, which training mode sets.
        """
        outline = self.outline()
        if not any(isinstance(n, Network) and n.has_batch_norms for n in outline.values()):
            return None

        def marked(node: Any) -> Any:
            ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), node)
            if not isinstance(node, BatchNorm):
                return ones
            return eqx.tree_at(lambda n: (n.mean, n.variance), ones, replace_fn=np.logical_not)

        return self.aligned(marked, BatchNorm)

    def aligned(self, of_node: Callable[[Any], Any], kind: type) -> NDArray[Any]:
        """One number for each value, in the order of the flat vector.

        Args:
            of_node: Takes a node of `outline` and gives the same with NumPy arrays for shapes.
            kind: The nodes that it takes whole; all that is outside of them it takes leaf by leaf.
        """
        numbers = jax.tree.map(of_node, self.outline(), is_leaf=lambda node: isinstance(node, kind))
        pairs = zip(self.treedef.flatten_up_to(numbers), self.is_index, strict=True)
        return np.concatenate([leaf.reshape(-1) for leaf, is_index in pairs if not is_index])

    def outline(self) -> dict[str, Any]:
        """The networks with shapes in place of arrays: costs nothing, not even a compilation."""
        kinds = (jnp.int32 if is_index else jnp.float32 for is_index in self.is_index)
        leaves = map(jax.ShapeDtypeStruct, self.shapes, kinds)
        return jax.tree.unflatten(self.treedef, leaves)

    def online(self, part: Part) -> dict[str, Any]:
        """The networks that act and learn."""
        return self.networks(part.values, part.indices)

    def target(self, part: Part) -> dict[str, Any]:
        """The slowly following networks; empty for a part that has none."""
        return self.networks(part.target, part.indices) if part.target.size else {}

    def _concatenate(self, networks: dict[str, Any], index: bool, dtype: Any) -> jax.Array:
        leaves = self.treedef.flatten_up_to(networks)
        chosen = [
            leaf for leaf, is_index in zip(leaves, self.is_index, strict=True) if is_index == index
        ]
        if not chosen:
            return jnp.zeros(0, dtype)
        if _traced(chosen):
            return jnp.concatenate([leaf.reshape(-1) for leaf in chosen])
        return _copied(np.concatenate([np.asarray(leaf).reshape(-1) for leaf in chosen]))


def _traced(arrays: list[Any]) -> bool:
    """Whether a function is being compiled, of which one of the arrays is a part."""
    return any(isinstance(array, Tracer) for array in arrays)


def _copied(array: np.ndarray) -> jax.Array:
    """In memory of JAX's own: an update may be given it to write over."""
    return jax.device_put(array, may_alias=False)


def holds_networks(part: dict[str, Any]) -> bool:
    """Whether what a part has by name are networks, and not bare arrays."""
    return all(isinstance(member, Network) for member in part.values())


class Part(NamedTuple):
    """Networks that one optimizer trains, as flat vectors.

    The target network shares its online network's indices: it cannot have another topology by
    accident. `target` is empty (length 0) for a part without target networks.
    """

    values: Float[Array, " values"]
    target: Float[Array, " values_or_0"]
    optimizer: optax.OptState
    indices: Int32[Array, " indices"]
