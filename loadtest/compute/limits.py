"""What the machine can do: matrix products in every precision that a library gives, and a walk through memory.

python -m loadtest.compute.limits SOCKET
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from contract.errors import RuntimeUnavailable
from contract.parity import Precision
from contract.records.compute import MachineLimits, Peak, Triad
from loadtest.compute.link import answer_commands, linked_process
from serving.runtimes import NO_TF32

PROCESSOR_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
CARD_PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16", "int8")
REPEATS_NS = 1_000_000_000
FEWEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Matrices so large that nothing but their product counts, and arrays so long that they stay in no cache."""

    side: int
    triad_elements: int  # float32


PROCESSOR = Size(side=2048, triad_elements=32 << 20)  # 17 GFLOP a product, 128 MiB an array
CARD = Size(side=8192, triad_elements=256 << 20)  # 1.1 TFLOP a product, 1 GiB an array


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What ``device`` can do, the processor with ``threads``."""

    device: str
    threads: int


def measure_limits(device: str, threads: int, cores: Sequence[int], log: Path) -> MachineLimits:
    """The limits of ``device`` for a process on ``cores`` with ``threads``, found by one of its own in some 10 s."""
    module = ["loadtest.compute.limits"]
    with linked_process("limits", module, MachineLimits, threads=threads, cores=cores, log=log) as process:
        return process.ask(Question(device=device, threads=threads))


def limits_here(device: str, threads: int) -> MachineLimits:
    """The limits of ``device`` for this process; raises `RuntimeUnavailable` for a card without PyTorch."""
    peaks: list[Peak] = [numpy_peak()] if device == "cpu" else []
    missing: dict[str, str] = {}
    if find_spec("torch") is None:
        if device != "cpu":
            raise RuntimeUnavailable("only PyTorch says what a card can do. Next: pip install -c constraints.txt torch")
        missing = dict.fromkeys(("bfloat16", "int8"), "PyTorch is not installed, and NumPy has no such product")
        return MachineLimits(threads=threads, peaks=tuple(peaks), triad=numpy_triad(), missing=missing)
    os.environ.pop(NO_TF32, None)  # what is allowed is said for every product
    import torch

    torch.set_num_threads(threads)
    for precision in PROCESSOR_PRECISIONS if device == "cpu" else CARD_PRECISIONS:
        try:
            peaks.append(torch_peak(torch, device, precision))
        except RuntimeError as error:
            missing[precision] = f"PyTorch {torch.__version__}: {str(error).splitlines()[0]}"
    triad = torch_triad(torch, device)
    return MachineLimits(threads=threads, peaks=tuple(peaks), triad=triad, missing=missing, device=device)


def numpy_peak() -> Peak:
    """float32 by the BLAS that NumPy was built with."""
    import numpy as np

    rng, side = np.random.default_rng(0), PROCESSOR.side
    left, right = (rng.random((side, side), dtype=np.float32) for _ in range(2))
    product = np.empty((side, side), np.float32)
    times = repeat(lambda: np.matmul(left, right, out=product))
    return Peak(precision="float32", library=f"numpy {np.__version__}", side=side, took_ns=times)


def torch_peak(torch: Any, device: str, precision: Precision) -> Peak:
    """By whichever library PyTorch takes there; raises ``RuntimeError`` where it has no such product."""
    side = _size_of(device).side
    generator = torch.Generator(device).manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if precision == "int8":
        make = partial(torch.randint, -128, 128, (side, side), dtype=torch.int8, generator=generator, device=device)
        left, right = make(), make()
        # cuBLAS has its fast kernels for factors whose sums run along memory: the right one lies in columns.
        product = partial(torch._int_mm, left, right if device == "cpu" else right.t())
    else:
        dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
        left, right = (torch.rand((side, side), generator=generator, device=device).to(dtype) for _ in range(2))
        product = partial(torch.mm, left, right)
    times = repeat(_until_done(torch, device, product))
    return Peak(precision=precision, library=f"torch {torch.__version__}", side=side, took_ns=times)


def torch_triad(torch: Any, device: str) -> Triad:
    """One pass over three arrays."""
    elements = _size_of(device).triad_elements
    a, b, c = (torch.ones(elements, device=device) for _ in range(3))
    times = repeat(_until_done(torch, device, lambda: torch.add(b, c, alpha=3.0, out=a)))
    array_bytes = 4 * elements
    return Triad(
        library=f"torch {torch.__version__}", array_bytes=array_bytes, traffic_bytes=3 * array_bytes, passes_ns=times
    )


def numpy_triad() -> Triad:
    """Two passes, because NumPy has no such operation: two arrays in the first, three in the second."""
    import numpy as np

    a, b, c = (np.ones(PROCESSOR.triad_elements, np.float32) for _ in range(3))
    scale = np.float32(3)

    def walk() -> None:
        np.multiply(c, scale, out=a)
        np.add(a, b, out=a)

    return Triad(
        library=f"numpy {np.__version__}", array_bytes=a.nbytes, traffic_bytes=5 * a.nbytes, passes_ns=repeat(walk)
    )


def _size_of(device: str) -> Size:
    return PROCESSOR if device == "cpu" else CARD


def _until_done(torch: Any, device: str, work: Callable[[], object]) -> Callable[[], object]:
    """``work``, and on a card the wait for it."""
    if device == "cpu":
        return work

    def done() -> None:
        work()
        torch.cuda.synchronize(device)

    return done


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
    answer_commands(arguments[0], Question, lambda question: limits_here(question.device, question.threads))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
