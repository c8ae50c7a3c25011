"""The files of a policy.

policy.json          layers, patterns, observation, actions and their scaling, hashes of all of it
policy.safetensors   packed weights, biases, indices, golden input/output pairs, and what
                     observations are normalised by
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import msgspec
import numpy as np
from numpy.typing import NDArray

from sparl.envs import Spaces
from sparl.errors import BadFile
from sparl.layouts import LayerDescription, Size, pack, unpack
from sparl.networks import (
    NORMS,
    AnyNorm,
    Network,
    Norm,
    Normalization,
    Wiring,
    chain,
    range_size,
)
from sparl.storage import files, schema
from sparl.validation import shown

FORMAT = 1
"""Version of policy.json."""
FILE, ARRAYS = "policy.json", "policy.safetensors"


Place = Annotated[int, msgspec.Meta(ge=0)]


class _Observation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How a policy's file describes observations."""

    shape: tuple[Size, ...]
    normalized: bool = False
    clip: Annotated[float, msgspec.Meta(gt=0)] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """policy.json."""

    format: int
    layers: Annotated[tuple[LayerDescription, ...], msgspec.Meta(min_length=1, max_length=1000)]
    observation: _Observation
    action: dict[str, Any]
    """As `_describe_actions` gives it: fields of `Spaces`."""
    sha256: schema.Digest
    squash: bool
    wiring: Wiring | None = None
    """Older policies have none: they are chains."""
    inputs: tuple[tuple[Place, Size], ...] | None = None
    """Ranges of an observation that the network sees; all of it if there are none."""
    spaces: dict[str, Any] = {}
    """As `_describe_more` gives it: fields of `Spaces`."""


class StoredPolicy(NamedTuple):
    """What the files of a policy hold, besides its golden outputs."""

    network: Network
    spaces: Spaces
    normalization: Normalization | None
    golden: NDArray[np.float32]
    """Observations [pairs, obs] whose outputs are stored, too."""


def golden_output(spaces: Spaces) -> str:
    """The name of the array of golden outputs."""
    return "golden.q_value" if spaces.discrete else "golden.action"


def write(folder: Path, policy: StoredPolicy, outputs: NDArray[np.float32]) -> None:
    """Writes a policy; the same policy always gives the same bytes.

    Args:
        folder: Is made if it is not there.
        policy: The policy.
        outputs: What it gives for the golden observations.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray] = {
        "golden.observation": policy.golden,
        golden_output(policy.spaces): outputs,
    }
    observation: dict[str, Any] = {"shape": policy.spaces.observation_shape}
    if policy.normalization is not None:
        observation["normalized"] = True
        mean, scale, clip = policy.normalization
        arrays |= {"observation.mean": np.asarray(mean), "observation.scale": np.asarray(scale)}
        observation |= {} if clip is None else {"clip": clip}
    layers = []
    for i, layer in enumerate(policy.network.layers):
        description, stored = pack(layer)
        layers.append(description)
        arrays |= {f"layer_{i}.{name}": array for name, array in stored.items()}
    network = policy.network
    for prefix, norms in (("norm", network.norms), ("input_norm", network.input_norms)):
        for i, norm in enumerate(norms):
            numbers = {} if norm is None else vars(norm)
            arrays |= {f"{prefix}_{i}.{name}": np.asarray(a) for name, a in numbers.items()}
    sha256 = files.write_arrays(folder / ARRAYS, arrays)
    files.write_sealed(
        folder / FILE,
        {
            "format": FORMAT,
            "layers": layers,
            "wiring": asdict(policy.network.wiring),
            "squash": policy.network.squash,
            "observation": observation,
            "action": _describe_actions(policy.spaces),
            "sha256": sha256,
        }
        | ({} if network.inputs is None else {"inputs": network.inputs})
        | _describe_more(policy.spaces),
    )


def read(folder: Path) -> tuple[StoredPolicy, NDArray[np.float32]]:
    """A policy that `write` wrote, and its golden outputs.

    Raises:
        BadFile: Files that are missing, altered, of another format or not as `write` writes them.
    """
    content, description = _read(folder / FILE)
    stored = _Arrays(files.read_arrays(folder / ARRAYS, content.sha256), folder / ARRAYS)
    spaces = _spaces(description, folder / FILE)
    network = _network(content, description, stored, spaces)
    inputs, outputs = spaces.observation_size, spaces.action_size
    normalization = None
    if content.observation.normalized:
        mean, scale = (stored.take(f"observation.{n}", (inputs,)) for n in ("mean", "scale"))
        normalization = Normalization(mean, scale, content.observation.clip)
    golden = stored.take("golden.observation", (None, inputs))
    policy = StoredPolicy(network, spaces, normalization, golden)
    return policy, stored.take(golden_output(spaces), (len(golden), outputs))


def _read(file: Path) -> tuple[_File, dict[str, Any]]:
    """A policy.json, checked: as its schema, and as JSON."""
    content = files.read_json(file)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else content
        raise BadFile(
            f"{file.parent} has policy format {shown(found)}; this sparl reads {FORMAT}",
            file=file,
            field="format",
            value=found,
        )
    description = schema.opened(content, file)
    return schema.convert(description, _File, file), description


class _Arrays(NamedTuple):
    """The arrays in the file of a policy."""

    by_name: dict[str, NDArray]
    file: Path

    def take(self, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
        """A float32 array of this shape; None is any size."""
        array = self.by_name.get(name)
        found = None if array is None else array.shape
        fits = array is not None and array.dtype == np.float32 and array.ndim == len(shape)
        if not fits or any(s not in (None, n) for s, n in zip(shape, found or (), strict=True)):
            raise BadFile(
                f"{self.file}: {name} should be float32 of shape {shape}, and is "
                f"{'missing' if array is None else f'{array.dtype} of shape {found}'}",
                file=self.file,
                field=name,
                value=found,
            )
        assert array is not None
        return array


def _network(
    content: _File, description: dict[str, Any], stored: _Arrays, spaces: Spaces
) -> Network:
    """The layers in their wiring."""
    seen, misfit = spaces.observation_size, ""
    if content.inputs is not None:
        ends = [0, *(end for ranges in content.inputs for end in ranges)]
        if ends != sorted(ends) or ends[-1] > seen:
            misfit = f"inputs {shown(content.inputs)} are no ranges of {seen} numbers"
        seen = range_size(content.inputs)
    sizes = seen, spaces.action_size
    shapes = [layer.shape for layer in content.layers]
    wiring = chain(len(shapes)) if content.wiring is None else content.wiring
    misfit = misfit or wiring.misfit(shapes)
    if not misfit:
        widths = [shapes[0][1], *(outputs for outputs, _ in shapes)]
        found = widths[0], sum(widths[value] for value in wiring.gives)
        if found != sizes:
            misfit = f"the network has {found} inputs and outputs, and the spaces {sizes}"
    if misfit:
        raise BadFile(
            f"{stored.file.parent / FILE} is not as sparl wrote it: {misfit}",
            file=stored.file.parent / FILE,
            field="wiring",
        )
    layers = []
    for i, layer in enumerate(description["layers"]):
        prefix = f"layer_{i}."
        arrays = {
            name.removeprefix(prefix): array
            for name, array in stored.by_name.items()
            if name.startswith(prefix)
        }
        layers.append(unpack(layer, arrays, str(stored.file), f"layer_{i}"))
    # Older policies have layer norms of inputs alone, and call them so.
    described = (description.get("wiring") or {"stages": ()})["stages"]
    older = not any("input_norm" in stage for stage in described)
    stages, norms, input_norms = [], [], []
    for i, (stage, (outputs, inputs)) in enumerate(zip(wiring.stages, shapes, strict=True)):
        of_inputs = f"input_norm_{i}"
        if older and stage.norm == "layer":
            stage, of_inputs = replace(stage, norm=None, input_norm="layer"), f"norm_{i}"
        stages.append(stage)
        norms.append(_norm(stage.norm, f"norm_{i}", outputs, stored))
        input_norms.append(_norm(stage.input_norm, of_inputs, inputs, stored))
    wiring = Wiring(tuple(stages), wiring.gives)
    return Network(
        tuple(layers),
        tuple(norms),
        tuple(input_norms),
        wiring,
        content.squash,
        content.inputs,
    )


def _norm(kind: Norm | None, name: str, size: int, stored: _Arrays) -> AnyNorm | None:
    if kind is None:
        return None
    names = [field.name for field in fields(NORMS[kind])]
    return NORMS[kind](**{n: jnp.asarray(stored.take(f"{name}.{n}", (size,))) for n in names})


def _describe_actions(spaces: Spaces) -> dict[str, Any]:
    if spaces.discrete:
        return {"choices": spaces.choices, "first": spaces.first}
    return {"shape": spaces.action_shape, "low": spaces.low, "high": spaces.high}


def _describe_more(spaces: Spaces) -> dict[str, Any]:
    """The fields of `Spaces` that neither observation nor action tells, where they have a value."""
    told = {"observation_shape", "action_shape", "low", "high", "choices", "first"}
    more = {f.name: getattr(spaces, f.name) for f in fields(Spaces) if f.name not in told}
    defaults = {f.name: f.default for f in fields(Spaces)}
    changed = {name: value for name, value in more.items() if value != defaults[name]}
    if spaces.nvec:  # the shape of several discrete actions at once
        changed["action_shape"] = spaces.action_shape
    return {"spaces": changed} if changed else {}


def _spaces(content: dict[str, Any], file: Path) -> Spaces:
    """The spaces in a policy.json: what `_describe_actions` and `_describe_more` told of them."""
    action, more = content["action"], content.get("spaces", {})
    at = {"shape": "action_shape"}
    told = {at.get(name, name): value for name, value in action.items()}
    none = {"action_shape": [], "low": [], "high": []} if "choices" in action else {}
    shape = {"observation_shape": content["observation"]["shape"]}
    return schema.convert(none | shape | told | more, Spaces, file, "action")
