"""What the calls of one place say: one number per process, and the estimate over processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from analysis.statistics import Absent, Figure, NumberColumn, across_runs, percentile_across_runs
from contract.records.compute import CallBlock, Shape
from contract.timing import NS_PER_S

Place = tuple[str, int, Shape]  # runtime, threads, shape
Measure = Callable[[Sequence[CallBlock]], float]


def of_processes(blocks: Sequence[CallBlock]) -> dict[int, list[CallBlock]]:
    """By the number of the process that made them."""
    found: dict[int, list[CallBlock]] = defaultdict(list)
    for block in blocks:
        found[block.sitting.repetition].append(block)
    return found


def calls_of(blocks: Sequence[CallBlock]) -> NumberColumn:
    """What every measured call took, in nanoseconds."""
    return np.concatenate([np.array(block.took_ns, np.int64) for block in blocks])


def percentile_of_calls(calls: Sequence[NumberColumn], share: float, rng: np.random.Generator) -> Figure:
    """The percentile of all ``calls``, a column for each process; whole processes are resampled, because two of them
    differ more than two calls. The interval of a single one is of its calls alone.
    """
    figure = percentile_across_runs(calls, share, rng)
    if isinstance(figure, Absent):
        return replace(figure, reason=_of_calls(figure.reason))
    return replace(figure, of=_of_calls(figure.of))


def _of_calls(words: str) -> str:
    """Words of load tests, in ours."""
    return words.replace("requests", "calls").replace("runs", "processes")


def images_of(blocks: Sequence[CallBlock]) -> int:
    """How many images the measured calls were given."""
    return sum(len(block.took_ns) * block.shape.batch for block in blocks)


def images_per_s(blocks: Sequence[CallBlock]) -> float:
    """Images over the time inside calls."""
    return images_of(blocks) / (sum(sum(block.took_ns) for block in blocks) / NS_PER_S)


def cpu_s_per_image(blocks: Sequence[CallBlock]) -> float:
    """Processor time of all threads, per image."""
    return sum(block.cpu_ns for block in blocks) / NS_PER_S / images_of(blocks)


def over_processes(processes: Sequence[Sequence[CallBlock]], measure: Measure, rng: np.random.Generator) -> Figure:
    """The median over processes of what ``measure`` says of each, as `across_processes` gives it."""
    return across_processes([measure(process) for process in processes], rng)


def across_processes(values: Sequence[float], rng: np.random.Generator) -> Figure:
    """The median of one number per process; `Absent` for fewer than two, which have no interval."""
    if len(values) < 2:
        return Absent("one process has no interval" if values else "not recorded", len(values))
    return replace(across_runs(values, rng), of="processes")
