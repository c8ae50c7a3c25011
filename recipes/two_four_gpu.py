"""2:4 on Sparse Tensor Cores beside dense products: from which size on it pays (2104.08378).

    python recipes/two_four_gpu.py

One linear layer in float16, of equal inputs and outputs, by PyTorch's dense and by its
semi-structured product, at batch sizes of acting (1, 16) and of training (256, 1024, 4096). Times
are those of a call from Python, with its launch, as the median of several rounds. Needs PyTorch
with CUDA and an NVIDIA GPU from Ampere on. Writes `results/two_four_gpu/GPU.csv`, and a table; a
minute.

It was not run yet: no such GPU was at hand.
"""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "results" / "two_four_gpu"
WIDTHS = (256, 512, 1024, 2048, 4096, 8192)
BATCHES = (1, 16, 256, 1024, 4096)
AMPERE = (8, 0)
"""The first compute capability with Sparse Tensor Cores."""
ROUNDS, CALLS = 7, 50
WARM = 10
"""Calls before the first round."""


def main() -> None:
    torch = usable_torch()
    name = torch.cuda.get_device_name()
    rows = []
    for width in WIDTHS:
        weight = pruned(torch.randn(width, width, device="cuda", dtype=torch.float16) / width**0.5)
        sparse = torch.sparse.to_sparse_semi_structured(weight)
        for batch in BATCHES:
            rows.append({"width": width, "batch": batch, **compared(torch, weight, sparse, batch)})
            print(" | ".join(str(value) for value in rows[-1].values()), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{re.sub(r'[^A-Za-z0-9]+', '-', name)}.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{name}, PyTorch {torch.__version__}: microseconds dense / 2:4, {path}\n")
    print(table(rows))


def usable_torch() -> Any:
    """PyTorch, on a machine whose GPU multiplies 2:4 matrices.

    Raises:
        SystemExit: What is missing.
    """
    try:
        torch = import_module("torch")
    except ModuleNotFoundError:
        raise SystemExit("PyTorch is not installed: pip install torch") from None
    if not torch.cuda.is_available():
        raise SystemExit(f"PyTorch {torch.__version__} finds no CUDA GPU on this machine")
    found = torch.cuda.get_device_capability()
    if found < AMPERE:
        raise SystemExit(
            f"{torch.cuda.get_device_name()} has compute capability {found[0]}.{found[1]}: Sparse "
            f"Tensor Cores are there from {AMPERE[0]}.{AMPERE[1]} on"
        )
    if not hasattr(torch.sparse, "to_sparse_semi_structured"):
        raise SystemExit(f"PyTorch {torch.__version__} has no semi-structured product: take 2.1 on")
    return torch


def pruned(weight: Any) -> Any:
    """The same [out, in] with the two largest of every four neighbouring inputs, others zero."""
    groups = weight.reshape(-1, 4)
    kept = groups.abs().topk(2, dim=1).indices
    mask = groups.new_zeros(groups.shape).scatter_(1, kept, 1)
    return (groups * mask).reshape(weight.shape)


def compared(torch: Any, weight: Any, sparse: Any, batch: int) -> dict[str, Any]:
    """Microseconds of both products, their ratio, and how far their results are apart."""
    x = torch.randn(batch, weight.shape[1], device="cuda", dtype=torch.float16)
    linear = torch.nn.functional.linear
    with torch.inference_mode():
        apart = (linear(x, weight) - linear(x, sparse)).abs().max().item()
        if not apart < 0.1:  # float16 sums of numbers near 1
            raise SystemExit(f"width {len(weight)}, batch {batch}: results are {apart} apart")
        dense_us = microseconds(torch, lambda: linear(x, weight))
        sparse_us = microseconds(torch, lambda: linear(x, sparse))
    return {
        "dense_us": round(dense_us, 2),
        "two_four_us": round(sparse_us, 2),
        "ratio": round(dense_us / sparse_us, 3),
        "apart": f"{apart:.1e}",
    }


def microseconds(torch: Any, call: Callable[[], Any]) -> float:
    """The median time of a call, over rounds of several calls each."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(WARM):
        call()
    rounds = []
    for _ in range(ROUNDS):
        begin.record()
        for _ in range(CALLS):
            call()
        end.record()
        torch.cuda.synchronize()
        rounds.append(1e3 * begin.elapsed_time(end) / CALLS)
    return statistics.median(rounds)


def table(rows: list[dict[str, Any]]) -> str:
    """How many times as fast 2:4 is, by width and batch, in Markdown."""
    ratios = {(row["width"], row["batch"]): row["ratio"] for row in rows}
    head = ["width", *(f"batch {batch}" for batch in BATCHES)]
    lines = [head, ["---:"] * len(head)]
    lines += [[str(w), *(f"{ratios[w, b]:.2f}" for b in BATCHES)] for w in WIDTHS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
