"""Checks of annotations at every call, at a third of their price where none speaks of shapes.

jaxtyping's import hook decorates every function of the package with `jaxtyping.jaxtyped`. For each
call that binds the arguments and checks them twice, so that names of axes mean the same in all of
them. Most functions have no axes: theirs is the type checker alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import jaxtyping
import numpy as np
import numpy.typing
from beartype import BeartypeConf, beartype

_with_shapes = jaxtyping.jaxtyped
_without_shapes = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))


Scalar = TypeVar("Scalar", bound=np.generic)
NDArray = np.ndarray[tuple[Any, ...], np.dtype[Scalar]]


def install() -> None:
    """Lets the import hook of jaxtyping decorate with `checked`; before sparl is imported."""
    jaxtyping.jaxtyped = checked
    # From NumPy 2.5 on theirs is a `type` statement, into which jaxtyping 0.3 does not look. This
    # is what it stands for, and what it was before.
    numpy.typing.NDArray = NDArray


def checked(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What decorates functions and classes in place of `jaxtyping.jaxtyped`."""

    def decorate(fn: Any) -> Any:
        hints = evaluated(fn) if inspect.isfunction(fn) else None
        if hints is None or any(map(has_shape, hints.values())):
            return _with_shapes(fn, typechecker=typechecker)
        written, fn.__annotations__ = fn.__annotations__, hints
        try:
            return _without_shapes(fn)
        finally:
            fn.__annotations__ = written

    return decorate


def evaluated(function: Callable[..., Any]) -> dict[str, Any] | None:
    """The annotations of a function; None if one is of what is not made yet: a method's class."""
    try:
        return inspect.get_annotations(function, eval_str=True)
    except (NameError, AttributeError):
        return None


def has_shape(hint: Any) -> bool:
    """Whether a type of jaxtyping is in it."""
    if isinstance(hint, list):  # Callable's arguments.
        return any(map(has_shape, hint))
    return getattr(hint, "__module__", None) == "jaxtyping" or any(map(has_shape, get_args(hint)))
