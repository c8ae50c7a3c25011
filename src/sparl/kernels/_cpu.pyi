"""The compiled kernels: XLA FFI handlers for the CPU."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class Inference:
    def __init__(self, form: Sequence[int]) -> None: ...
    def run(
        self,
        values: NDArray[np.float32],
        indices: NDArray[np.int32],
        x: NDArray[np.float32],
        y: NDArray[np.float32],
    ) -> None: ...

def handlers() -> dict[str, object]: ...
def instruction_set() -> str: ...
def force_instruction_set(name: str) -> bool: ...
def lanes(batch: int) -> int: ...
