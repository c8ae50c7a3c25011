"""`sparl bench`: benchmarks of speed on the machine at hand.

One file per benchmark. `layers` times one layer; `train` whole training, beside other libraries;
`step` one training step, part by part; `latency` one action of a trained policy, beside other
libraries; `device` runs exported policies on emulated processors. Measurements of `train` and
`latency` are processes of their own, which run `contender` and `caller`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import tyro

from sparl.bench import device, latency, layers, step, train
from sparl.bench.device import AARCH64, CORTEX, aarch64, cortex_m4, missing

__all__ = ["AARCH64", "CORTEX", "aarch64", "cortex_m4", "main", "missing"]

OVERVIEW = """\
usage: sparl bench BENCHMARK …

Speed, measured on this machine. Leave it alone meanwhile.

  sparl bench layers       one layer, both ways: dense and each sparsity pattern
  sparl bench train        steps/s of training, beside other libraries
  sparl bench step         where each microsecond of a training step goes
  sparl bench latency DIR  one action of a policy: exported C, ONNX, predict, …
  sparl bench device DIR…  exported policies on emulated Cortex-M4F and aarch64

Each prints a table; the first four write their figures into a file with
--json FILE. sparl bench BENCHMARK --help lists its options. For a first
impression within two minutes:

  sparl bench layers --widths 256 --batches 256
"""


class Benchmark(NamedTuple):
    """A benchmark: the dataclass of its options, and the function that measures and prints."""

    options: type
    run: Callable[[Any], None]


BENCHMARKS = {
    "layers": Benchmark(layers.Layers, layers.run),
    "train": Benchmark(train.Train, train.run),
    "step": Benchmark(step.Step, step.run),
    "device": Benchmark(device.Device, device.run),
    "latency": Benchmark(latency.Latency, latency.run),
}


def main(arguments: list[str]) -> None:
    """Runs the benchmark that the command line names.

    Args:
        arguments: What follows `sparl bench`.

    Raises:
        SystemExit: For usage errors (status 2) and --help (status 0), as argparse does.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(OVERVIEW, end="")
        return
    name, *rest = arguments
    if name not in BENCHMARKS:
        print(f"sparl bench: no benchmark {name!r}\n\n{OVERVIEW}", end="", file=sys.stderr)
        raise SystemExit(2)
    benchmark = BENCHMARKS[name]
    benchmark.run(tyro.cli(benchmark.options, prog=f"sparl bench {name}", args=rest))
