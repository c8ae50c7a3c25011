"""A file that Stable-Baselines3 saved: its attributes, its tensors, and why it may be refused."""

from __future__ import annotations

import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadCheckpoint, BadValue
from sparl.interop import torch_file
from sparl.interop.trained_agent import FileSpaces

POLICIES = {
    "stable_baselines3.td3.policies": "td3",
    "stable_baselines3.sac.policies": "sac",
    "stable_baselines3.dqn.policies": "dqn",
}
"""Modules of Stable-Baselines3's policies, and sparl's names of their algorithms."""


class SB3File:
    """A file that `model.save` wrote, of an agent that sparl has an equal of.

    Attributes:
        algorithm: td3, sac or dqn.
        data: The model's attributes.
        notes: What a reader could not take over, a sentence each.

    Raises:
        BadCheckpoint: The file is missing, truncated, or not from Stable-Baselines3.
        BadValue: The agent is of a kind that sparl cannot import; the message says what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = _unzip(path)
        self.notes: list[str] = []
        self.data = self._attributes()
        self.algorithm = self._recognise_algorithm()
        self._refuse_other_networks()

    def number(self, name: str) -> float:
        """Gives an attribute that is a finite number.

        Raises:
            BadCheckpoint: It is missing, or no finite number.
        """
        value = self.data.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        raise BadCheckpoint(f"{self.path} has {name} {value!r}, which should be a number")

    def integer(self, name: str) -> int:
        """Gives an attribute that is a whole number.

        Raises:
            BadCheckpoint: It is missing, or no whole number.
        """
        number = self.number(name)
        if number.is_integer():
            return int(number)
        raise BadCheckpoint(f"{self.path} has {name} {number}, which should be a whole number")

    def learning_rate(self) -> float:
        """Gives the learning rate of the file.

        Raises:
            BadValue: It is a schedule, which the file has only as a pickled function.
        """
        if isinstance(self.data.get("learning_rate"), dict):
            raise BadValue(
                f"the learning rate of {self.path} follows a schedule, which cannot be read "
                "without running code from the file. Choose the one to go on with: learning_rate"
            )
        return self.number("learning_rate")

    def tensors(self, name: str) -> dict[Any, Any]:
        """Gives the content of `NAME.pth`: tensors by name, or the state of an optimizer.

        Raises:
            BadCheckpoint: The file lacks it, or it is no state dict.
        """
        if f"{name}.pth" not in self._content:
            raise BadCheckpoint(f"{self.path} has no {name}.pth: it was saved without its networks")
        saved = torch_file.read(self._content[f"{name}.pth"], f"{name}.pth of {self.path}")
        if not isinstance(saved, dict):
            raise BadCheckpoint(f"{name}.pth of {self.path} is no state dict")
        return saved

    def policy(self, linear_layers: str) -> dict[str, NDArray[Any]]:
        """Gives the tensors of all networks by name.

        Args:
            linear_layers: Regular expression of the names of the linear layers.

        Raises:
            BadValue: The networks have anything besides those linear layers.
        """
        tensors = self.tensors("policy")
        if not all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
            raise BadCheckpoint(f"policy.pth of {self.path} is no state dict")
        for name in map(str, tensors):
            if re.fullmatch(rf"({linear_layers})\.(weight|bias)", name):
                continue
            if "features_extractor" in name:
                raise BadValue(
                    f"{self.path} has a features extractor with weights ({name}), as CNNs for "
                    "images are; sparl's networks take vectors. Train with MlpPolicy on features"
                )
            if re.search(r"\.qf\d+\.", name):
                raise BadValue(f"{self.path} has more than two critics ({name}); sparl has two")
            raise BadValue(
                f"{self.path} has {name}: no part of a plain MLP, which is all that is imported"
            )
        if self.algorithm != "dqn" and not any(name.startswith("critic.qf1") for name in tensors):
            raise BadValue(
                f"{self.path} has one critic (as DDPG's); {self.algorithm} in sparl has two. Train "
                "with n_critics=2"
            )
        return tensors

    def adam(self, name: str) -> dict[int, dict[str, Any]] | None:
        """Gives the state of Adam by the number of the tensor.

        None where there is no such optimizer, where it has not made a step, and where it is not
        Adam with the constants of sparl's.
        """
        options, state = self._optimizer(name)
        if not state:
            return None
        constants = [options.get(key) for key in ("betas", "eps", "amsgrad")]
        if constants != [[0.9, 0.999], 1e-8, False] or not self._by_adam:
            self.notes.append(f"{name} is not Adam as sparl has it: its moments start afresh")
            return None
        return state

    def weight_decay(self) -> float:
        """Gives the L2 penalty, which Adam in PyTorch and in sparl adds to the gradient."""
        name = "policy.optimizer" if self.algorithm == "dqn" else "actor.optimizer"
        return float(self._optimizer(name)[0].get("weight_decay", 0.0)) if self._by_adam else 0.0

    @property
    def spaces(self) -> FileSpaces:
        """Shapes and bounds of the spaces, as far as the file has them in readable text."""
        shape, action = self.data["observation_space"].get("_shape"), self.data["action_space"]
        low, high = (
            numbers_in(action[name]) if name in action else None for name in ("low", "high")
        )
        return FileSpaces(tuple(shape) if isinstance(shape, list) else None, low, high)

    def _optimizer(self, name: str) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """Gives options and state of an optimizer; both empty where the file has none."""
        if f"{name}.pth" not in self._content:
            return {}, {}
        saved = self.tensors(name)
        try:
            return dict(saved["param_groups"][0]), dict(saved["state"])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise BadCheckpoint(f"{name}.pth of {self.path} is no optimizer's state") from error

    @property
    def _by_adam(self) -> bool:
        return self._option("optimizer_class", ".adam.Adam'>").endswith(".adam.Adam'>")

    def _option(self, name: str, default: str) -> str:
        """Gives one of the policy's options, as text."""
        return str(self.data["policy_kwargs"].get(name, default))

    def _attributes(self) -> dict[str, Any]:
        try:
            data = json.loads(self._content["data"])
            required = ("policy_class", "observation_space", "action_space", "policy_kwargs")
            return data | {name: dict(data[name]) for name in required}
        except (KeyError, TypeError, ValueError) as error:
            raise BadCheckpoint(
                f"{self.path} is truncated, or not as Stable-Baselines3's model.save writes it: "
                f"{error!r}"
            ) from error

    def _recognise_algorithm(self) -> str:
        module = str(self.data["policy_class"].get("__module__"))
        if module in POLICIES:
            return POLICIES[module]
        if module.startswith("sbx."):
            raise BadValue(
                f"{self.path} was saved by SBX, which keeps its networks as a pickle: reading it "
                "could run any code. Train with Stable-Baselines3, or with sparl"
            )
        kind = "PPO or A2C" if module == "stable_baselines3.common.policies" else "another kind"
        raise BadValue(
            f"{self.path} is of {kind} (its policy is from {module}); sparl imports TD3, SAC and "
            "DQN, with the policies of Stable-Baselines3"
        )

    def _refuse_other_networks(self) -> None:
        """Refuses networks that compute something else than sparl's from the same weights."""
        if self.data.get("use_sde"):
            raise BadValue(
                f"{self.path} explores with gSDE, which sparl does not have. Train with "
                "use_sde=False"
            )
        kind = str(self.data["observation_space"].get(":type:"))
        if not kind.endswith(".box.Box'>"):
            raise BadValue(
                f"{self.path} takes observations of {kind}; sparl takes a Box. Train with "
                "gymnasium.wrappers.FlattenObservation"
            )
        activation = self._option("activation_fn", ".activation.ReLU'>")
        if not activation.endswith(".activation.ReLU'>"):
            raise BadValue(
                f"{self.path} has the activation function {activation}; sparl's networks have "
                "ReLU. Train with activation_fn=torch.nn.ReLU"
            )
        extractor = self._option("features_extractor_class", ".FlattenExtractor'>")
        if not extractor.endswith(".FlattenExtractor'>"):
            raise BadValue(
                f"{self.path} has the features extractor {extractor}; sparl's networks take "
                "what the environment gives. Wrap it to give features, and train on those"
            )


def numbers_in(text: Any) -> tuple[float, ...] | None:
    """Gives the numbers of a list, or of an array as NumPy prints it.

    None where some are elided, or are no finite numbers.
    """
    try:
        numbers = tuple(map(float, re.sub(r"[\[\],]", " ", str(text)).split()))
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _unzip(path: Path) -> dict[str, bytes]:
    """Gives every file in the zip by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{path} is missing") from error
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error}") from error
    except Exception as error:
        # zipfile also raises what its decompressors raise.
        if path.suffix == ".pkl":
            raise BadValue(
                f"{path} is a pickle, as Stable-Baselines3 saves replays and the statistics of "
                "VecNormalize: reading it could run any code. Import the agent's zip"
            ) from error
        raise BadCheckpoint(
            f"{path} is truncated, or no zip as Stable-Baselines3's model.save writes it: {error}"
        ) from error
