"""A file that Stable-Baselines3 saved: its attributes, its tensors, and why it may be refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile, BadValue
from sparl.interop import sb3_kind, sb3_spaces, torch_file
from sparl.interop.bounded_zip import BoundedZip
from sparl.interop.sb3_spaces import LARGEST, bad, numbers_in
from sparl.kernels import Activation
from sparl.storage import schema
from sparl.validation import shown

MOST_DATA = 16 * 2**20
"""Bytes of the model's attributes."""


class SB3File:
    """A file that `model.save` wrote, of a policy that sparl can compute.

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
        """What a reader could not take over, a sentence each."""
        self.data = self._attributes()
        """The model's attributes."""
        self.algorithm = sb3_kind.algorithm_of(self.data, path)
        """As Stable-Baselines3 calls it, in small letters."""
        self.activation: Activation = sb3_kind.activation_of(self.data, path, self.algorithm)
        """The function between layers."""
        self.spaces = sb3_spaces.read(self.data, path)
        """Of the environment, as far as the file has them in readable text."""
        sb3_kind.refuse_other_networks(self.data, path)

    def number(self, name: str) -> float:
        """Gives an attribute that is a finite number.

        Raises:
            BadFile: It is missing, or no finite number.
        """
        value = self.data.get(name)
        if isinstance(value, int | float) and type(value) is not bool and math.isfinite(value):
            return float(value)
        raise bad(self.path, name, value, "a number")

    def integer(self, name: str, most: int = LARGEST) -> int:
        """Gives an attribute that is a whole number, of which none is further from 0 than `most`.

        Raises:
            BadFile: It is missing, or no whole number.
        """
        number = self.number(name)
        if number.is_integer() and abs(number) <= most:
            return int(number)
        raise bad(self.path, name, number, "a whole number")

    def learning_rate(self, usual: float) -> float:
        """Gives the learning rate of the file; of a schedule the last one.

        The file has a schedule only as a pickled function. The number that it came to is among the
        options of the optimizer.

        Args:
            usual: Where a schedule had come to 0.
        """
        if not isinstance(self.data.get("learning_rate"), dict):
            return self.number("learning_rate")
        last = self._optimizer(self.optimizer)[0].get("lr")
        if type(last) is float and 0 < last < math.inf:
            self.notes.append(
                f"its learning rate followed a schedule: here it stays at the last, {last:.3g}"
            )
            return last
        self.notes.append(
            f"its learning rate followed a schedule that had come to its end: here it is {usual:g}"
        )
        return usual

    def schedule(self, name: str, usual: float) -> float:
        """Gives an attribute that is a number, or a schedule that always gives the same one.

        Args:
            name: Of the attribute.
            usual: Where the file has a pickled function alone.
        """
        value = self.data.get(name)
        if not isinstance(value, dict):
            return self.number(name)
        found = re.fullmatch(
            r"ConstantSchedule\(val=([-+.\de]+)\)", str(value.get("value_schedule"))
        )
        constant = None if found is None else numbers_in(found[1])
        if constant is None:
            self.notes.append(f"its {name} is a function, which is not read: here it is {usual:g}")
            return usual
        return constant[0]

    @property
    def optimizer(self) -> str:
        """The name of the optimizer of the networks that act."""
        return "actor.optimizer" if self.algorithm in sb3_kind.WITH_ACTOR else "policy.optimizer"

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
            BadValue: The networks have anything besides those linear layers, and deviations.
        """
        tensors = self.tensors("policy")
        if not all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
            raise BadFile(f"policy.pth of {self.path} is no state dict")
        for name in map(str, tensors):
            if "features_extractor" in name:
                raise BadValue(
                    f"{self.path} has a features extractor with weights ({shown(name)}), as CNNs "
                    "for images are; sparl's networks take vectors. Train with MlpPolicy on "
                    "features"
                )
            if re.fullmatch(rf"(actor\.)?log_std|({linear_layers})\.(weight|bias)", name):
                continue
            raise BadValue(
                f"{self.path} has {shown(name)}: no part of a plain MLP, which is all that is "
                "imported"
            )
        return tensors

    @property
    def variables(self) -> dict[Any, Any]:
        """Tensors that are in no network; old files call them otherwise."""
        old = "pytorch_variables.pth" not in self._zip.names and "tensors.pth" in self._zip.names
        return self.tensors("tensors" if old else "pytorch_variables")

    def configured(self, kind: Any, **options: Any) -> Any:
        """The agent's configuration; options that it refuses are the file's fault."""
        try:
            return kind(**options)
        except BadValue as error:
            raise BadFile(
                f"{self.path} is not as sparl can take it: {error}", file=self.path
            ) from error

    def adam(self, name: str) -> dict[int, dict[str, Any]] | None:
        """Gives the state of Adam by the number of the tensor.

        None where there is no such optimizer, where it has not made a step, and where it is not
        Adam with the constants of sparl's.
        """
        options, state = self._optimizer(name)
        if not state:
            return None
        constants = repr([options.get(key) for key in ("betas", "eps", "amsgrad")])
        epsilon = 1e-5 if self.algorithm in sb3_kind.ON_POLICY else 1e-8
        if constants != repr([[0.9, 0.999], epsilon, False]) or not self._by_adam:
            self.notes.append(f"{name} is not Adam as sparl has it: its moments start afresh")
            return None
        # Old files have addresses in memory in place of numbers.
        try:
            numbered = enumerate(options.get("params", ()))
            return {i: state[key] for i, key in numbered if key in state}
        except TypeError as error:
            raise BadFile(f"{name}.pth of {self.path} is no optimizer's state") from error

    def weight_decay(self) -> float:
        """Gives the L2 penalty, which Adam in PyTorch and in sparl adds to the gradient."""
        name = self.optimizer
        decay = self._optimizer(name)[0].get("weight_decay", 0.0) if self._by_adam else 0.0
        if type(decay) not in (int, float) or not 0 <= decay < math.inf:
            raise bad(self.path, f"{name}.pth: weight_decay", decay, "a number of at least 0")
        return float(decay)

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
        return sb3_kind.option(self.data, "optimizer_class", ".adam.Adam'>").endswith(
            ".adam.Adam'>"
        )

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
