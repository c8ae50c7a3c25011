"""A file that Stable-Baselines3 saved: its attributes, its tensors, and why it may be refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile, BadValue
from sparl.interop import torch_file
from sparl.interop.bounded_zip import BoundedZip
from sparl.interop.trained_agent import FileSpaces
from sparl.storage import schema
from sparl.validation import shown

LARGEST = 2**31 - 1
"""The largest whole number that is taken over."""
MOST_DATA = 16 * 2**20
"""Bytes of the model's attributes."""

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
        BadFile: The file is missing, truncated, or not from Stable-Baselines3.
        BadValue: The agent is of a kind that sparl cannot import; the message says what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, Any] = {}
        """Tensors by the name of their file."""
        self._zip = BoundedZip(path)
        self.notes: list[str] = []
        self.data = self._attributes()
        self.algorithm = self._recognise_algorithm()
        self._refuse_other_networks()

    def number(self, name: str) -> float:
        """Gives an attribute that is a finite number.

        Raises:
            BadFile: It is missing, or no finite number.
        """
        value = self.data.get(name)
        if isinstance(value, int | float) and type(value) is not bool and math.isfinite(value):
            return float(value)
        raise self._bad(name, value, "a number")

    def integer(self, name: str) -> int:
        """Gives an attribute that is a whole number.

        Raises:
            BadFile: It is missing, or no whole number.
        """
        number = self.number(name)
        if number.is_integer() and abs(number) <= LARGEST:
            return int(number)
        raise self._bad(name, number, "a whole number")

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
            BadFile: The file lacks it, or it is no state dict.
        """
        file = f"{name}.pth"
        if file not in self._zip.names:
            raise BadFile(
                f"{self.path} has no {file}: it was saved without its networks", file=self.path
            )
        if name not in self._read:
            self._read[name] = torch_file.read(self._zip.read(file), f"{file} of {self.path}")
        if not isinstance(self._read[name], dict):
            raise BadFile(f"{file} of {self.path} is no state dict", file=self.path, field=file)
        return self._read[name]

    def policy(self, linear_layers: str) -> dict[str, NDArray[Any]]:
        """Gives the tensors of all networks by name.

        Args:
            linear_layers: Regular expression of the names of the linear layers.

        Raises:
            BadValue: The networks have anything besides those linear layers.
        """
        tensors = self.tensors("policy")
        if not all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
            raise BadFile(f"policy.pth of {self.path} is no state dict")
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
        constants = repr([options.get(key) for key in ("betas", "eps", "amsgrad")])
        if constants != repr([[0.9, 0.999], 1e-8, False]) or not self._by_adam:
            self.notes.append(f"{name} is not Adam as sparl has it: its moments start afresh")
            return None
        return state

    def weight_decay(self) -> float:
        """Gives the L2 penalty, which Adam in PyTorch and in sparl adds to the gradient."""
        name = "policy.optimizer" if self.algorithm == "dqn" else "actor.optimizer"
        decay = self._optimizer(name)[0].get("weight_decay", 0.0) if self._by_adam else 0.0
        if type(decay) not in (int, float) or not 0 <= decay < math.inf:
            raise self._bad(f"{name}.pth: weight_decay", decay, "a number of at least 0")
        return float(decay)

    @property
    def spaces(self) -> FileSpaces:
        """Shapes and bounds of the spaces, as far as the file has them in readable text."""
        shape, action = self.data["observation_space"].get("_shape"), self.data["action_space"]
        low, high = (
            numbers_in(action[name]) if name in action else None for name in ("low", "high")
        )
        if not isinstance(shape, list):
            return FileSpaces(None, low, high)
        if not all(type(size) is int and 0 < size <= LARGEST for size in shape):
            raise self._bad("observation_space._shape", shape, "sizes above 0")
        return FileSpaces(tuple(shape), low, high)

    def _bad(self, field: str, value: Any, wanted: str) -> BadFile:
        return BadFile(
            f"{self.path} has {field} {shown(value)}, which should be {wanted}",
            file=self.path,
            field=field,
            value=value,
        )

    def _optimizer(self, name: str) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """Gives options and state of an optimizer; both empty where the file has none."""
        if f"{name}.pth" not in self._zip.names:
            return {}, {}
        saved = self.tensors(name)
        try:
            return dict(saved["param_groups"][0]), dict(saved["state"])
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise BadFile(f"{name}.pth of {self.path} is no optimizer's state") from error

    @property
    def _by_adam(self) -> bool:
        return self._option("optimizer_class", ".adam.Adam'>").endswith(".adam.Adam'>")

    def _option(self, name: str, default: str) -> str:
        """Gives one of the policy's options, as text."""
        return str(self.data["policy_kwargs"].get(name, default))

    def _attributes(self) -> dict[str, Any]:
        try:
            if "data" not in self._zip.names:
                raise KeyError("data")
            # Python writes NaN and Infinity; which number may be one is asked where it is used.
            data = schema.parse(self._zip.read("data", MOST_DATA), self.path, finite=False)
            required = ("policy_class", "observation_space", "action_space", "policy_kwargs")
            return data | {name: dict(data[name]) for name in required}
        except (KeyError, TypeError, ValueError) as error:
            raise BadFile(
                f"{self.path} is truncated, or not as Stable-Baselines3's model.save writes it: "
                f"{error!r}",
                file=self.path,
                field="data",
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
