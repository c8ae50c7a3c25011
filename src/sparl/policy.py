"""A trained policy: what is left of an agent when training is over, and what a device needs.

policy.json          layers, patterns, observation, actions and their scaling, hash of the arrays
policy.safetensors   packed weights, biases, indices, golden input/output pairs, and what
                     observations are normalised by
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.envs import Spaces
from sparl.errors import BadCheckpoint, BadValue
from sparl.layouts import Layout, StraightThrough, pack, unpack
from sparl.networks import NORMS, AnyNorm, Network, Norm, Normalization, Stage, Wiring, plain
from sparl.storage import files

FORMAT = 1
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

        Actions are as the environment takes them: in its bounds and shape and float32, or int64
        where they are discrete. `state` comes back as it was given (the policy has no memory);
        `episode_start` is there because callers of Stable-Baselines3's agents pass it.

        Raises:
            BadValue: `deterministic` is False: how an agent explores is not part of its policy.
        """
        if not deterministic:
            raise BadValue(
                "deterministic is False, and a saved policy does not know how its agent explores: "
                "load the run folder, whose `predict` does"
            )
        flat = self.spaces.flat(observation)
        actions = self.spaces.to_env_action(self.act(np.atleast_2d(flat)))
        return (actions[0] if flat.ndim == 1 else actions), state

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
        network = self.network
        for prefix, norms in (("norm", network.norms), ("input_norm", network.input_norms)):
            for i, norm in enumerate(norms):
                numbers = {} if norm is None else vars(norm)
                arrays |= {f"{prefix}_{i}.{name}": np.asarray(a) for name, a in numbers.items()}
        sha256 = files.write_arrays(folder / "policy.safetensors", arrays)
        files.write_json(
            folder / "policy.json",
            {
                "format": FORMAT,
                "layers": layers,
                "wiring": asdict(self.network.wiring),
                "squash": self.network.squash,
                "observation": observation,
                "action": _describe_actions(self.spaces),
                "sha256": sha256,
            },
        )

    @classmethod
    def load(cls, folder: str | Path) -> Policy:
        """A policy that `save` wrote; checks it against its golden pairs.

        Raises `BadCheckpoint` for files that are missing, altered or of another format, and for
        a policy that does not act as it did when it was saved.
        """
        folder = Path(folder)
        content = files.read_json(folder / "policy.json")
        if content.get("format") != FORMAT:
            raise BadCheckpoint(
                f"{folder} has policy format {content.get('format')}; this sparl reads {FORMAT}"
            )
        arrays = files.read_arrays(folder / "policy.safetensors", content["sha256"])
        layers = tuple(
            unpack(layer, {k: arrays[f"layer_{i}.{k}"] for k in layer["arrays"]})
            for i, layer in enumerate(content["layers"])
        )
        observation = content["observation"]
        normalization = None
        if observation.get("normalized"):
            normalization = Normalization(arrays["observation.mean"], arrays["observation.scale"])
        spaces = _spaces(tuple(observation["shape"]), content["action"])
        network = _network(layers, content, arrays)
        policy = cls(network, spaces, arrays["golden.observation"], normalization)
        golden = arrays[policy._golden_output]
        error = np.abs(policy.outputs(policy.golden) - golden).max(initial=0.0)
        if not error <= TOLERANCE * np.abs(golden).max(initial=1.0):
            raise BadCheckpoint(f"{folder}: outputs differ from the golden ones by {error:.1e}")
        return policy

    @property
    def _golden_output(self) -> str:
        return "golden.q_value" if self.spaces.discrete else "golden.action"


def _network(
    layers: tuple[Layout, ...], content: dict[str, Any], arrays: dict[str, NDArray]
) -> Network:
    """The layers in their wiring, which older policies do not tell: they are chains."""
    if "wiring" not in content:
        return plain(layers, content["squash"])
    stages, norms, input_norms = [], [], []
    for i, saved in enumerate(content["wiring"]["stages"]):
        stage = Stage(**(saved | {"reads": tuple(saved["reads"])}))
        stored_as = {"norm": f"norm_{i}.", "input_norm": f"input_norm_{i}."}
        if "input_norm" not in saved and stage.norm == "layer":
            # Older policies have layer norms of inputs alone, and call them so.
            stage = replace(stage, norm=None, input_norm="layer")
            stored_as["input_norm"] = stored_as["norm"]
        stages.append(stage)
        norms.append(_norm(stage.norm, stored_as["norm"], arrays))
        input_norms.append(_norm(stage.input_norm, stored_as["input_norm"], arrays))
    wiring = Wiring(tuple(stages), tuple(content["wiring"]["gives"]))
    return Network(layers, tuple(norms), tuple(input_norms), wiring, content["squash"])


def _norm(kind: Norm | None, prefix: str, arrays: dict[str, NDArray]) -> AnyNorm | None:
    fields = {
        name.removeprefix(prefix): jnp.asarray(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    return None if kind is None else NORMS[kind](**fields)


def _describe_actions(spaces: Spaces) -> dict[str, Any]:
    if spaces.discrete:
        return {"choices": spaces.choices, "first": spaces.first}
    return {"shape": spaces.action_shape, "low": spaces.low, "high": spaces.high}


def _spaces(observation_shape: tuple[int, ...], action: dict[str, Any]) -> Spaces:
    if "choices" in action:
        return Spaces(observation_shape, (), (), (), action["choices"], action["first"])
    shape, low, high = (tuple(action[key]) for key in ("shape", "low", "high"))
    return Spaces(observation_shape, shape, low, high)
