"""`sparl bench`: what the README says of speed, measured on the machine at hand.

One file per benchmark: `layers` (one layer), `train` (whole training, beside other codes; each of
its measurements is a process that runs `contender`), `step` (one training step, part by part),
`latency` (one action of a trained policy, beside other codes; processes that run `caller`),
`device` (exported policies on emulated processors).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import tyro

from sparl.bench import device, latency, layers, step, train
from sparl.bench.device import CORTEX, cortex_m4, missing

__all__ = ["CORTEX", "cortex_m4", "main", "missing"]

OVERVIEW = """\
usage: sparl bench BENCHMARK …

Speed, measured on this machine. Leave it alone meanwhile.

  sparl bench layers          one layer, forward and backward: dense and each sparsity pattern
  sparl bench train           steps/s of whole training, beside Stable-Baselines3 and SBX
  sparl bench step            where each microsecond of a training step goes
  sparl bench latency DIR     one action of a trained policy: exported C, ONNX, predict, others
  sparl bench device DIR…     exported policies on an emulated Cortex-M4F and aarch64

Each prints a table; the first four write their figures into a file with --json FILE. sparl bench
BENCHMARK --help tells its options. For a first impression within two minutes:

  sparl bench layers --widths 256 --batches 256
"""

BENCHMARKS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "layers": (layers.Layers, layers.run),
    "train": (train.Train, train.run),
    "step": (step.Step, step.run),
    "device": (device.Device, device.run),
    "latency": (latency.Latency, latency.run),
}


def main(arguments: list[str]) -> None:
    """Runs a benchmark; usage errors and --help leave, as in argparse."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(OVERVIEW, end="")
        return
    name, *options = arguments
    if name not in BENCHMARKS:
        print(f"sparl bench: no benchmark {name!r}\n\n{OVERVIEW}", end="", file=sys.stderr)
        raise SystemExit(2)
    kind, run = BENCHMARKS[name]
    run(tyro.cli(kind, prog=f"sparl bench {name}", args=options))
