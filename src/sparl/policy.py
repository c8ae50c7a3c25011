"""A trained policy: what is left of an agent when training is over, and what a device needs.

policy.json          layers, patterns, observation, actions and their scaling, hashes of all of it
policy.safetensors   packed weights, biases, indices, golden input/output pairs, and what
                     observations are normalised by
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from numpy.typing import NDArray

from sparl.envs import Spaces, stack
from sparl.errors import BadFile, BadValue
from sparl.layouts import LayerDescription, Size, StraightThrough, pack, unpack
from sparl.networks import BatchNorm, LayerNorm, Network, Normalization, Wiring, chain
from sparl.storage import files, schema
from sparl.validation import shown

FORMAT = 1
ARRAYS = "policy.safetensors"
GOLDEN = 8
TOLERANCE = 1e-4
"""Most that what a loaded policy's network gives may differ from its golden outputs: actions in
[-1, 1] units; values of choices as a share of the largest, if that is above 1."""


class Policy:
    """Acts like the agents of Stable-Baselines3: `action, state = policy.predict(observation)`."""

    def __init__(
        self,
        network: Network,
        spaces: Spaces,
        golden: NDArray[np.float32],
        normalization: Normalization | None = None,
    ) -> None:
        """A network that gives actions in [-1, 1], or values of choices where those are discrete.

        `golden`: observations [pairs, obs] whose outputs are stored along with the policy.
        `normalization`: what the network sees observations through, if it was trained so. All
        observations that the policy takes, golden ones too, are as the environment gives them.
        """
        self.network = network.with_layers(
            [la.packed() if isinstance(la, StraightThrough) else la for la in network.layers]
        )
        self.spaces = spaces
        self.golden = np.asarray(golden, np.float32)
        self.normalization = normalization
        self._apply = jax.jit(lambda net, observation: net(observation.T).T)

    def act(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """[batch, obs] to [batch, act] in [-1, 1], or to the best choices [batch]."""
        outputs = self.outputs(observation)
        return outputs.argmax(axis=-1) if self.spaces.discrete else outputs

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network gives: [batch, obs] to actions [batch, act], or values of choices."""
        return np.asarray(self._apply(self.network, self.normalized(observation)))

    def normalized(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Observations [batch, obs] as the network sees them."""
        return observation if self.normalization is None else self.normalization(observation)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The action for one observation, or the actions for a batch of them.

        Args:
            observation: As the environment gives it, or flattened; or a batch of them.
            state: What the call before gave, where the agent sees several frames: the frames. A
                policy of one frame gives it back as it was given.
            episode_start: Whether an episode starts with this observation, for each of a batch.
                With several frames its first observation fills them all, as `state` None does.
            deterministic: Must be True.

        Returns:
            Actions as the environment takes them, in its bounds, shape and type, and the state.

        Raises:
            BadValue: `deterministic` is False: how an agent explores is not part of its policy.
        """
        if not deterministic:
            raise BadValue(
                "deterministic is False, and a saved policy does not know how its agent explores: "
                "load the run folder, whose `predict` does"
            )
        return predict(self.act, self.spaces, observation, state, episode_start)

    def save(self, folder: str | Path) -> None:
        """Writes the policy; the same policy always gives the same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray] = {
            "golden.observation": self.golden,
            self._golden_output: self.outputs(self.golden),
        }
        observation: dict[str, Any] = {"shape": self.spaces.observation_shape}
        if self.normalization is not None:
            observation["normalized"] = True
            arrays |= {f"observation.{k}": v for k, v in self.normalization._asdict().items()}
        layers = []
        for i, layer in enumerate(self.network.layers):
            description, stored = pack(layer)
            layers.append(description)
            arrays |= {f"layer_{i}.{name}": array for name, array in stored.items()}
        for i, norm in enumerate(self.network.norms):
            if norm is not None:
                arrays |= {f"norm_{i}.{name}": np.asarray(a) for name, a in vars(norm).items()}
        sha256 = files.write_arrays(folder / ARRAYS, arrays)
        files.write_sealed(
            folder / "policy.json",
            {
                "format": FORMAT,
                "layers": layers,
                "wiring": asdict(self.network.wiring),
                "squash": self.network.squash,
                "observation": observation,
                "action": _describe_actions(self.spaces),
                "sha256": sha256,
            }
            | _describe_more(self.spaces),
        )

    @classmethod
    def load(cls, folder: str | Path) -> Policy:
        """A policy that `save` wrote; checks it against its golden pairs.

        Raises:
            BadFile: Files that are missing, altered, of another format or not as `save` writes
                them, and a policy that does not act as it did when it was saved.
        """
        folder = Path(folder)
        content, description = _read(folder / "policy.json")
        file = folder / ARRAYS
        arrays = files.read_arrays(file, content.sha256)
        spaces = _spaces(description, folder / "policy.json")
        stored = _Arrays(arrays, file)
        network = _network(content, description["layers"], stored, spaces)
        sizes = network.in_features, spaces.action_size
        normalization = None
        if content.observation.normalized:
            mean, scale = (
                stored.take(f"observation.{name}", (sizes[0],)) for name in ("mean", "scale")
            )
            normalization = Normalization(mean, scale)
        golden = stored.take("golden.observation", (None, sizes[0]))
        policy = cls(network, spaces, golden, normalization)
        outputs = stored.take(policy._golden_output, (len(golden), sizes[1]))
        with np.errstate(all="ignore"):
            error = np.abs(policy.outputs(golden) - outputs).max(initial=0.0)
        if not error <= TOLERANCE * np.abs(outputs).max(initial=1.0):
            raise BadFile(
                f"{folder}: outputs differ from the golden ones by {error:.1e}",
                file=file,
                field=policy._golden_output,
                value=float(error),
            )
        return policy

    @property
    def _golden_output(self) -> str:
        return "golden.q_value" if self.spaces.discrete else "golden.action"


def predict(
    act: Callable[[NDArray[np.float32]], NDArray[Any]],
    spaces: Spaces,
    observation: Any,
    state: Any,
    episode_start: Any,
) -> tuple[Any, Any]:
    """What `Policy.predict` gives, of whatever acts.

    Args:
        act: [batch, obs] to [batch, act] in [-1, 1], or to numbers of discrete actions [batch].
    """
    if spaces.frames > 1:
        flat, state = stack(spaces, observation, state, episode_start)
    else:
        flat = spaces.flat(observation)
    actions = act(np.atleast_2d(flat))
    return spaces.to_env_action(actions[0] if flat.ndim == 1 else actions), state


class _Observation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How a policy's file describes observations."""

    shape: tuple[Size, ...]
    normalized: bool = False


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
    spaces: dict[str, Any] = {}
    """As `_describe_more` gives it: fields of `Spaces`."""


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
    content: _File, descriptions: list[dict[str, Any]], stored: _Arrays, spaces: Spaces
) -> Network:
    """The layers in their wiring."""
    sizes = spaces.observation_size, spaces.action_size
    shapes = [layer.shape for layer in content.layers]
    wiring = chain(len(shapes)) if content.wiring is None else content.wiring
    misfit = wiring.misfit(shapes)
    if not misfit:
        widths = [shapes[0][1], *(outputs for outputs, _ in shapes)]
        found = widths[0], sum(widths[value] for value in wiring.gives)
        if found != sizes:
            misfit = f"the network has {found} inputs and outputs, and the spaces {sizes}"
    if misfit:
        raise BadFile(
            f"{stored.file.parent / 'policy.json'} is not as sparl wrote it: {misfit}",
            file=stored.file.parent / "policy.json",
            field="wiring",
        )
    layers = []
    for i, layer in enumerate(descriptions):
        prefix = f"layer_{i}."
        arrays = {
            name.removeprefix(prefix): array
            for name, array in stored.by_name.items()
            if name.startswith(prefix)
        }
        layers.append(unpack(layer, arrays, str(stored.file), f"layer_{i}"))
    norms = []
    for i, (stage, (outputs, inputs)) in enumerate(zip(wiring.stages, shapes, strict=True)):
        if stage.norm is None:
            norms.append(None)
            continue
        kind = {"layer": LayerNorm, "batch": BatchNorm}[stage.norm]
        size = inputs if stage.norm == "layer" else outputs
        names = [field.name for field in fields(kind)]
        stats = {name: jnp.asarray(stored.take(f"norm_{i}.{name}", (size,))) for name in names}
        norms.append(kind(**stats))
    return Network(tuple(layers), tuple(norms), wiring, content.squash)


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
