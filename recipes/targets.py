"""Exported policies on other processors: what they compute there, compared with this machine.

    python recipes/targets.py

Every layout, norm and wiring, in float32, float16 and int8, is compiled for processors that differ
in what C leaves open: an int of 16 bits (AVR), the highest byte first (MIPS), pointers of 32 bits
and floats of 80 (x86), floats in hardware or in software (ARM). Each is emulated. A target whose
tools are not installed is left out with a message. Writes `results/device/targets.csv`; a few
minutes. Debian's packages:

    gcc-avr avr-libc simavr gcc-mips-linux-gnu qemu-user libc6-dev-i386 lib32gcc-12-dev
    gcc-arm-linux-gnueabihf gcc-arm-linux-gnueabi gcc-aarch64-linux-gnu

gcc-multilib brings what `gcc -m32` needs, too, but Debian has it exclude the other compilers.

`tests/exporters/test_export_targets.py` runs some of these policies on four.
"""

from __future__ import annotations

import csv
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from device import blocks, packed
from drawing.cost import DTYPES
from numpy.typing import NDArray

from sparl.envs import Spaces
from sparl.exporters import CProgram, Dtype, device_network
from sparl.layouts import Layout
from sparl.networks import BatchNorm, LayerNorm, Network, Normalization, build, feature_tower, then
from sparl.policy import Policy
from sparl.topology import NofM, PerLayer, PerRow

RESULTS = Path(__file__).resolve().parent.parent / "results" / "device" / "targets.csv"
REPORT = Path(__file__).with_suffix(".c")
"""The program that prints what a policy computes."""
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
OBSERVATIONS = 3
"""Golden observations: those of the self-test must fit into an AVR's 16 KB along with the rest."""
LIMIT = 120
"""Seconds after which an emulator is stopped."""
NOT_FINITE = 1
"""POLICY_NOT_FINITE of the exported header."""


class Target(NamedTuple):
    """A processor, and the tools that compile for it and run it here."""

    told: str
    compile: tuple[str, ...]
    run: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Those of its tools that are not installed."""
        tools = [self.compile[0], *self.run[:1]]
        missing = [tool for tool in tools if shutil.which(tool) is None]
        return missing or ([] if self._links() else [f"the libraries of {' '.join(self.compile)}"])

    def _links(self) -> bool:
        """Whether a program can be linked: compilers are there without their libraries, too."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "empty.c"
            source.write_text("#include <math.h>\nint main(void) { return 0; }\n")
            command = [*self.compile, str(source), "-o", f"{folder}/empty", "-lm"]
            return subprocess.run(command, capture_output=True).returncode == 0


HOST = Target("this machine", ("gcc",))
AVR = ("avr-gcc", "-mmcu=atmega1284p")
TARGETS = {
    "avr": Target("AVR: int of 16 bits", AVR, ("simavr", "-m", "atmega1284p", "-f", "16000000")),
    "mips": Target("MIPS: highest byte first", ("mips-linux-gnu-gcc", "-static"), ("qemu-mips",)),
    "m32": Target("x86 of 32 bits: sums in 80 bits", ("gcc", "-m32", "-mfpmath=387")),
    "arm": Target("ARM", ("arm-linux-gnueabihf-gcc", "-static"), ("qemu-arm",)),
    "arm soft": Target(
        "ARM: floats in software", ("arm-linux-gnueabi-gcc", "-static"), ("qemu-arm",)
    ),
    "aarch64": Target("ARM of 64 bits", ("aarch64-linux-gnu-gcc", "-static"), ("qemu-aarch64",)),
}


class Printed(NamedTuple):
    """What the program printed."""

    failed_test: int
    outputs: NDArray[np.float32]
    """[observation, out]"""
    actions: NDArray[Any]
    """[observation, act], float32 or int32."""
    refused: list[int]
    """Statuses for NaN, infinity and minus infinity."""
    overflow: list[int]
    """The status for observations so large that sums of floats overflow."""


def main() -> None:
    usable = {name: target for name, target in TARGETS.items() if not target.missing}
    for name in TARGETS.keys() - usable.keys():
        print(f"{name} is left out: no {', '.join(TARGETS[name].missing)}", file=sys.stderr)
    rows = []
    for (policy, make), dtype in itertools.product(POLICIES.items(), DTYPES):
        program = program_of(make(), dtype)
        here = run(program, HOST)
        for name, target in usable.items():
            rows.append(
                {"policy": policy, "dtype": dtype, "target": name}
                | comparison(program, run(program, target), here)
            )
            print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
    with open(RESULTS, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def comparison(program: CProgram, there: Printed, here: Printed) -> dict[str, Any]:
    """Gives what the self-test says there, and how far outputs are from those of this machine."""
    refuses = there.refused == [NOT_FINITE] * 3 and there.overflow == here.overflow
    difference = np.abs(there.outputs.astype(np.float64) - here.outputs).max()
    return {
        "self_test": "FAILED" if there.failed_test or not refuses else "passed",
        "same_bits": int(there.outputs.tobytes() == here.outputs.tobytes()),
        "difference": f"{difference:.1e}",
        "tolerance": f"{program.network.tolerance(here.outputs):.1e}",
    }


def run(program: CProgram, target: Target, flags: Sequence[str] = ()) -> Printed:
    """Compiles a program for a target, runs it there, and reads what it prints.

    Args:
        program: The exported policy.
        target: Where it runs.
        flags: More options of the compiler.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program.write(folder)
        sources = [str(REPORT), str(folder / "policy.c"), f"-I{folder}"]
        command = [*target.compile, *FLAGS, *flags, *sources, "-lm", "-o", f"{folder}/policy"]
        _checked(command)
        printed = _checked([*target.run, f"{folder}/policy"])
    found: dict[str, list[int]] = {name: [] for name in "toanh"}
    for name, bits in re.findall(r"([toanh]) ([0-9a-f]{8})\b", printed):
        found[name].append(int(bits, 16))
    spaces = program.policy.spaces
    kind = np.int32 if spaces.discrete or spaces.rounds else np.float32
    return Printed(
        *found["t"],
        np.array(found["o"], np.uint32).view(np.float32).reshape(len(program.policy.golden), -1),
        np.array(found["a"], np.uint32).view(kind).reshape(len(program.policy.golden), -1),
        found["n"],
        found["h"],
    )


def _checked(command: list[str]) -> str:
    finished = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=LIMIT
    )
    if finished.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {finished.stderr or finished.stdout}")
    return finished.stdout + finished.stderr


def program_of(policy: Policy, dtype: Dtype) -> CProgram:
    """The exported policy; int8 takes its ranges from more observations than the golden ones."""
    return CProgram(policy, device_network(policy, dtype, observations(policy, 1000)))


def observations(policy: Policy, count: int) -> NDArray[np.float32]:
    """[count, obs], with features of different ranges."""
    size = policy.spaces.observation_size
    normal = np.random.default_rng(1).normal(size=(count, size))
    return (normal * np.geomspace(0.1, 3.0, size)).astype(np.float32)


KEY = jax.random.key(0)
SIZES = (17, 36, 27, 6)
"""Rows are full tiles and a part of one; inputs are no multiple of four."""


def mixed() -> Policy:
    """A layer of every layout; observations are normalised inside."""
    kinds = [(4, 0.5), None, NofM(3, 5), PerRow(5), PerLayer(90)]
    policy = continuous(stored(kinds, (17, 26, 21, 27, 19, 6)))
    size = policy.spaces.observation_size
    mean, scale = np.linspace(-1, 1, size, dtype=np.float32), np.full(size, 0.5, np.float32)
    normalization = Normalization(mean, scale)
    return Policy(policy.network, policy.spaces, policy.golden, normalization)


def discrete() -> Policy:
    """Values of choices, which no tanh follows. The numbers of the choices pass 2^15.

    Weights are so large that huge observations overflow.
    """
    network = stored([NofM(2, 4, 8), None, PerRow(9)], squash=False)
    first, *others = network.layers
    large = eqx.tree_at(lambda layer: layer.weight, first, 16.0 * first.weight)
    network = network.with_layers((large, *others))
    return with_golden(network, Spaces((17,), (), (), (), 6, 32765))


def several() -> Policy:
    """Several choices at once; their numbers pass 2^15 and begin below 0."""
    spaces = Spaces(
        *((17,), (3,), (), (), 12), nvec=(2, 3, 2), starts=(-40000, 32766, 0), dtype="int64"
    )
    return with_golden(stored([NofM(2, 4), None], (17, 20, 12), squash=False), spaces)


def frames() -> Policy:
    """Integers of a number's newest, second and third value; many lie halfway between two."""
    bounds = (-16.0, 0.0, -2147483647.0), (16.0, 16.0, 2147483647.0)
    spaces = Spaces((3, 2), (3,), *bounds, dtype="int32", frames=3)
    weight = jnp.zeros((3, 6)).at[[0, 1, 2], [4, 2, 0]].set(1.0)
    network = build(KEY, (6, 3), False)
    (layer,) = network.layers
    layer = eqx.tree_at(lambda la: (la.weight, la.bias), layer, (weight, jnp.zeros(3)))
    golden = np.arange(-16, 20, dtype=np.float32).reshape(6, 6) / 16 + np.float32(1 / 32)
    return Policy(network.with_layers((layer,)), spaces, golden)


def stored(kinds: Sequence[Any], sizes: Sequence[int] = SIZES, squash: bool = True) -> Network:
    """A chain whose layers have these patterns; None is dense, (group, share) blocks."""
    network = build(KEY, sizes, squash)
    return network.with_layers(_layers(network.layers, tuple(kinds)))


@partial(jax.jit, static_argnums=1)  # one compilation for all layers
def _layers(layers: tuple[Layout, ...], kinds: tuple[Any, ...]) -> tuple[Layout, ...]:
    return tuple(
        layer
        if kind is None
        else blocks(layer, *kind)
        if isinstance(kind, tuple)
        else packed(layer, kind)
        for layer, kind in zip(layers, kinds, strict=True)
    )


def with_tower() -> Network:
    """A network on the features of a tower with batch norms, as OFENet's are."""
    tower = feature_tower(KEY, 17, (12, 10), "swish")
    head = build(KEY, (39, 20, 6), True)
    return then(tower, head)


def wired(network: Network) -> Network:
    """The network with norms that do something, and with every other layer sparse."""
    rng = np.random.default_rng(0)

    def drawn(norm: LayerNorm | BatchNorm | None) -> LayerNorm | BatchNorm | None:
        if norm is None:
            return None
        arrays = {name: rng.uniform(0.5, 1.5, array.shape) for name, array in vars(norm).items()}
        return type(norm)(**{k: jnp.asarray(a, jnp.float32) for k, a in arrays.items()})

    kinds = tuple(NofM(2, 4) if i % 2 else None for i, _ in enumerate(network.layers))
    layers, norms = _layers(network.layers, kinds), tuple(map(drawn, network.norms))
    input_norms = tuple(map(drawn, network.input_norms))
    return Network(layers, norms, input_norms, network.wiring, network.squash)


def continuous(network: Network) -> Policy:
    """An actor whose bounds no float32 equals."""
    actions = network.widths[-1]
    low, high = (-0.1,) * actions, (0.7,) * actions
    return with_golden(network, Spaces((network.widths[0],), (actions,), low, high))


def with_golden(network: Network, spaces: Spaces) -> Policy:
    """A policy with so few golden observations that an AVR holds them."""
    policy = Policy(network, spaces, np.zeros((0, spaces.observation_size), np.float32))
    return Policy(network, spaces, observations(policy, OBSERVATIONS))


POLICIES: dict[str, Callable[[], Policy]] = {
    "dense": lambda: continuous(stored([None] * 3)),
    "N:M": lambda: continuous(stored([NofM(1, 8), NofM(3, 5), NofM(7, 16)])),
    "N:MxV": lambda: continuous(stored([NofM(1, 8, 4), NofM(3, 5, 8), NofM(7, 16, 2)])),
    "per row": lambda: continuous(stored([PerRow(3), PerRow(7), PerRow(2)])),
    "per layer": lambda: continuous(stored([PerLayer(100), PerLayer(300), PerLayer(40)])),
    "circulant": lambda: continuous(stored([(16, 0.5), (4, 0.4), (2, 1.0)])),
    "mixed": mixed,
    "discrete": discrete,
    "several": several,
    "frames": frames,
    "layer norm": lambda: continuous(wired(build(KEY, (17, 12, 12, 6), True, "simba", "elu"))),
    "batch norm": lambda: continuous(wired(with_tower())),
    "d2rl": lambda: continuous(wired(build(KEY, (17, 24, 20, 6), True, "d2rl", "tanh"))),
}
"""One for every layout, and for every norm, wiring and kind of action."""


if __name__ == "__main__":
    main()
