"""Reads the statistics that Stable-Baselines3's VecNormalize saved, and runs nothing of the file.

The file is a pickle of the whole object, with spaces and random generators. A pickle can name any
function of any module and have it called. Here every name it asks for, whatever it is, becomes a
class of its own that only remembers what it was given; of these remains what is needed is read:
means, variances, counts, `epsilon` and `clip_obs`. Arrays are put together from their bytes by this
file, and not by the pickle.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile, BadValue
from sparl.interop.tensors import refuse_large_memos
from sparl.networks import EPSILON, RunningStatistics
from sparl.validation import shown

MOST = 16 * 2**20
"""Bytes of a file; one of 1000 entries of an observation has about 30,000."""
TYPES = ("f2", "f4", "f8", "i4", "i8", "u4", "u8")
"""NumPy's codes of the numbers that statistics may be of."""


class VecNormalized(NamedTuple):
    """What VecNormalize knew of an environment."""

    observations: RunningStatistics
    clip: float
    """Most that a normalised observation is away from 0."""
    returns: RunningStatistics | None
    """Of discounted returns; None where rewards were not normalised."""

    def refuse_other_size(self, size: int) -> None:
        """Raises `BadValue` where an environment's observations have another size."""
        if self.observations.mean.size != size:
            raise BadValue(
                f"vecnormalize normalises {self.observations.mean.size} entries of an observation, "
                f"and the environment gives {size}: they belong to different agents"
            )


class _Remains:
    """What is left of an object in a pickle: what it was called by, and with."""

    asked: str = ""
    """Module and name."""
    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    # A pickle may also extend what it takes for lists and dicts.

    def append(self, item: Any) -> None:
        """Is forgotten."""

    def extend(self, items: Any) -> None:
        """Is forgotten."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Is forgotten."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return type("Remains", (_Remains,), {"asked": f"{module_name}.{global_name}"})

    def persistent_load(self, pid: Any, /) -> Any:
        raise BadFile("it refers to what lies outside of it")


def read(path: Path) -> VecNormalized:
    """The statistics in a file that `VecNormalize.save` wrote.

    Args:
        path: The pickle, `vecnormalize.pkl` say.

    Raises:
        BadFile: It is missing, damaged, or not of VecNormalize.
        BadValue: It normalises no observations, or a Dict of them.
    """
    try:
        if path.stat().st_size > MOST:
            raise BadFile(f"it has {path.stat().st_size} bytes, and may have {MOST}")
        content = path.read_bytes()
        refuse_large_memos(io.BytesIO(content), len(content))
        saved = _Unpickler(io.BytesIO(content)).load()
        if not isinstance(saved, _Remains) or not saved.asked.endswith(".VecNormalize"):
            raise BadFile("it is not of VecNormalize")
        return _of(_attributes(saved), path)
    except BadValue:
        raise
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}", file=path) from error
    except Exception as error:
        # pickle's documentation says that a damaged pickle may raise any exception.
        told = error if isinstance(error, BadFile) else f"{type(error).__name__}: {error}"
        raise BadFile(
            f"{path} is no file as VecNormalize's save writes it, or was altered: {told}", file=path
        ) from error


def _of(attributes: dict[str, Any], path: Path) -> VecNormalized:
    observations = attributes.get("obs_rms")
    if not attributes.get("norm_obs", True):
        raise BadValue(f"{path} normalises no observations: leave vecnormalize out")
    if isinstance(observations, dict):
        raise BadValue(f"{path} normalises the entries of a Dict each; sparl takes a Box")
    epsilon, clip = (_number(attributes, name) for name in ("epsilon", "clip_obs"))
    if not (epsilon >= 0 and clip > 0):
        raise BadFile(f"it has epsilon {epsilon} and clip_obs {clip}")
    returns = None
    if attributes.get("norm_reward", True):
        returns = _statistics(attributes.get("ret_rms"), epsilon)
        if len(returns.mean) != 1:
            raise BadFile(f"it has returns of shape {returns.mean.shape}")
    return VecNormalized(_statistics(observations, epsilon), clip, returns)


def _statistics(saved: Any, epsilon: float) -> RunningStatistics:
    """Statistics in a RunningMeanStd; sparl adds another epsilon to variances, which is made up."""
    attributes = _attributes(saved)
    mean, variance = (np.atleast_1d(_array(attributes.get(name))) for name in ("mean", "var"))
    count = _number(attributes, "count")
    fits = mean.shape == variance.shape and 1 <= count < 2**62
    finite = np.isfinite(mean).all() and np.isfinite(variance).all()
    if not (fits and finite and (variance >= 0).all()):
        raise BadFile(f"it has statistics of shapes {mean.shape}, {variance.shape}, count {count}")
    mean, variance = mean.reshape(-1), variance.reshape(-1)  # observations are flattened so, too
    whole = np.asarray(round(count), np.int64)
    return RunningStatistics(whole, mean, np.maximum(variance + epsilon - EPSILON, 0.0) * whole)


def _attributes(saved: Any) -> dict[str, Any]:
    if not isinstance(saved, _Remains) or not isinstance(saved.state, dict):
        raise BadFile(f"it has {shown(saved)} in place of an object with attributes")
    return saved.state


def _number(attributes: dict[str, Any], name: str) -> float:
    value = attributes.get(name)
    if isinstance(value, _Remains):
        value = _array(value).item()
    if isinstance(value, int | float) and type(value) is not bool and math.isfinite(value):
        return float(value)
    raise BadFile(f"its {name} is {shown(value)}, which should be a number")


def _array(saved: Any) -> NDArray[np.float64]:
    """An array, or a number of NumPy's, put together from what the pickle says of it."""
    if isinstance(saved, int | float):
        return np.asarray(saved, np.float64)
    if not isinstance(saved, _Remains):
        raise BadFile(f"it has {shown(saved)} in place of numbers")
    if saved.asked.endswith("._reconstruct"):
        _, shape, dtype, by_columns, content = saved.state
    elif saved.asked.endswith("._frombuffer"):
        content, dtype, shape, order = saved.arguments
        by_columns = order == "F"
    elif saved.asked.endswith(".scalar"):
        (dtype, content), shape, by_columns = saved.arguments, (), False
    else:
        raise BadFile(f"it has {saved.asked} in place of numbers")
    if isinstance(content, _Remains) and content.asked == "_codecs.encode":  # of old protocols
        content = content.arguments[0].encode("latin1")
    sizes = all(type(size) is int and 0 <= size < 2**31 for size in shape) and len(shape) <= 32
    if not sizes or not isinstance(content, bytes | bytearray):
        raise BadFile(f"it has an array of shape {shown(shape)}")
    array = np.frombuffer(content, _type(dtype))
    return array.reshape(shape, order="F" if by_columns else "C").astype(np.float64)


def _type(saved: Any) -> np.dtype:
    if not isinstance(saved, _Remains) or not saved.arguments or saved.arguments[0] not in TYPES:
        raise BadFile(f"it has numbers of type {shown(getattr(saved, 'arguments', saved))}")
    order = saved.state[1] if isinstance(saved.state, tuple) else "<"
    return np.dtype(f"{'>' if order == '>' else '<'}{saved.arguments[0]}")
