"""What the machine can do: matrix products in every precision that a library gives, and a walk through memory.

python -m loadtest.compute.limits SOCKET
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from contract.records.compute import MachineLimits, Peak, Precision, Triad
from loadtest.compute.link import answer_commands, linked_process

SIDE = 2048  # 17 GFLOP a product: long enough that nothing but the product counts
REPEATS_NS = 1_000_000_000
FEWEST = 5
TRIAD_ELEMENTS = 32 << 20  # 128 MiB of float32 each: three of them stay in no core's cache
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the machine can do with ``threads``."""

    threads: int


def measure_limits(threads: int, cores: Sequence[int], log: Path) -> MachineLimits:
    """The limits of ``cores`` with ``threads``, found by a process of its own in some 10 s."""
    module = ["loadtest.compute.limits"]
    with linked_process("limits", module, MachineLimits, threads=threads, cores=cores, log=log) as process:
        return process.ask(Question(threads=threads))


def limits_here(threads: int) -> MachineLimits:
    """The limits of this process."""
    peaks: list[Peak] = [numpy_peak()]
    missing: dict[str, str] = {}
    if find_spec("torch") is None:
        missing = dict.fromkeys(("bfloat16", "int8"), "PyTorch is not installed, and NumPy has no such product")
        return MachineLimits(threads=threads, peaks=tuple(peaks), triad=numpy_triad(), missing=missing)
    import torch

    torch.set_num_threads(threads)
    for precision in PRECISIONS:
        try:
            peaks.append(torch_peak(torch, precision))
        except RuntimeError as error:
            missing[precision] = f"PyTorch {torch.__version__}: {str(error).splitlines()[0]}"
    return MachineLimits(threads=threads, peaks=tuple(peaks), triad=torch_triad(torch), missing=missing)


def numpy_peak() -> Peak:
    """float32 by the BLAS that NumPy was built with."""
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = (rng.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    product = np.empty((SIDE, SIDE), np.float32)
    times = repeat(lambda: np.matmul(left, right, out=product))
    return Peak(precision="float32", library=f"numpy {np.__version__}", side=SIDE, took_ns=times)


def torch_peak(torch: Any, precision: Precision) -> Peak:
    """By oneDNN or MKL, whichever PyTorch takes; raises ``RuntimeError`` where it has no such product."""
    generator = torch.Generator().manual_seed(0)
    if precision == "int8":
        left, right = (torch.randint(-128, 128, (SIDE, SIDE), dtype=torch.int8, generator=generator) for _ in range(2))
        times = repeat(lambda: torch._int_mm(left, right))
    else:
        dtype = getattr(torch, precision)
        left, right = (torch.rand((SIDE, SIDE), generator=generator).to(dtype) for _ in range(2))
        times = repeat(lambda: torch.mm(left, right))
    return Peak(precision=precision, library=f"torch {torch.__version__}", side=SIDE, took_ns=times)


def torch_triad(torch: Any) -> Triad:
    """One pass over three arrays."""
    a, b, c = (torch.ones(TRIAD_ELEMENTS) for _ in range(3))
    times = repeat(lambda: torch.add(b, c, alpha=3.0, out=a))
    array_bytes = 4 * TRIAD_ELEMENTS
    return Triad(
        library=f"torch {torch.__version__}", array_bytes=array_bytes, traffic_bytes=3 * array_bytes, passes_ns=times
    )


def numpy_triad() -> Triad:
    """Two passes, because NumPy has no such operation: two arrays in the first, three in the second."""
    import numpy as np

    a, b, c = (np.ones(TRIAD_ELEMENTS, np.float32) for _ in range(3))
    scale = np.float32(3)

    def walk() -> None:
        np.multiply(c, scale, out=a)
        np.add(a, b, out=a)

    return Triad(
        library=f"numpy {np.__version__}", array_bytes=a.nbytes, traffic_bytes=5 * a.nbytes, passes_ns=repeat(walk)
    )


def repeat(work: Callable[[], object]) -> tuple[int, ...]:
    """What each of several goes took, the first left out; a second of them, and at least five."""
    work()
    times: list[int] = []
    until_ns = perf_counter_ns() + REPEATS_NS
    while len(times) < FEWEST or perf_counter_ns() < until_ns:
        began_ns = perf_counter_ns()
        work()
        times.append(perf_counter_ns() - began_ns)
    return tuple(times)


def main(arguments: list[str]) -> int:
    """Answer whoever listens at the socket."""
    answer_commands(arguments[0], Question, lambda question: limits_here(question.threads))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
