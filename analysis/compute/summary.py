"""Every cell of a compute run with its figures, and whether they may be believed."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.compute.card import OnCard, on_card
from analysis.compute.limit import Reached, Roof, reached, roofs_of, work_of
from analysis.compute.measures import (
    Place,
    across_processes,
    calls_of,
    cpu_s_per_image,
    images_per_s,
    of_processes,
    over_processes,
    percentile_of_calls,
)
from analysis.compute.runs import ComputeRun
from analysis.compute.scaling import Crossing, Medians, Scaling, crossings, scaling_of
from analysis.compute.verdicts import growth_faults, reasons_of, warnings_of
from analysis.statistics import (
    Absent,
    Estimate,
    Figure,
    ratio_of_medians,
    resample_median,
)
from contract.architecture import SPECS, ModelSpec
from contract.errors import InvalidSettings
from contract.parity import Precision
from contract.records.compute import CallBlock, FirstCall, ProcessStart, Shape
from contract.records.load import NULL_RUNTIME

BASELINE = "pytorch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeCell:
    """One runtime with a number of threads at one shape.

    Percentiles are of all calls of all processes; their intervals, rates, ratios and first calls are over processes.
    ``card`` is None on the processor. ``reasons`` say why its numbers must not be compared, ``warnings`` what to know
    of them.
    """

    runtime: str
    threads: int
    shape: Shape
    calls: int
    processes: int
    p50_ns: Figure
    p90_ns: Figure
    p99_ns: Figure
    images_per_s: Figure
    cpu_s_per_image: Figure
    first_call_ns: Figure
    ratio: Figure
    card: OnCard | None
    reached: Reached | None
    busy_threads: int
    peak_memory_bytes: int
    compilations: int
    largest_difference: float | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether its numbers may be compared."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeStart:
    """What it takes before the first call, by runtime and threads."""

    runtime: str
    threads: int
    import_ns: Figure
    load_ns: dict[int, Figure]
    peak_memory_bytes: int
    facts: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingRow:
    """How a runtime's time grows with the image, at one batch and number of threads."""

    runtime: str
    threads: int
    batch: int
    scaling: Scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossingRow:
    """A change of the faster of two runtimes, at one batch and number of threads."""

    threads: int
    batch: int
    crossing: Crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSummary:
    """All that is said about a compute run."""

    run: ComputeRun
    baseline: str
    cells: tuple[ComputeCell, ...]
    starts: tuple[ComputeStart, ...]
    roofs: tuple[Roof, ...]
    scalings: tuple[ScalingRow, ...]
    crossings: tuple[CrossingRow, ...]

    @property
    def threads(self) -> tuple[int, ...]:
        """Every number of threads, ascending."""
        return tuple(sorted({cell.threads for cell in self.cells}))

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that compute something, in the plan's order."""
        return tuple(name for name in self.run.plan.runtimes if name != NULL_RUNTIME)

    def of_threads(self, threads: int) -> list[ComputeCell]:
        """By resolution, batch and the plan's order of runtimes; the null runtime is not among them."""
        order = {name: number for number, name in enumerate(self.run.plan.runtimes)}
        cells = [cell for cell in self.cells if cell.threads == threads and cell.runtime != NULL_RUNTIME]
        return sorted(cells, key=lambda cell: (cell.shape, order[cell.runtime]))

    def cell(self, runtime: str, threads: int, shape: Shape) -> ComputeCell | None:
        """The cell at that place; None where it was not measured."""
        place = (runtime, threads, shape)
        return next((cell for cell in self.cells if (cell.runtime, cell.threads, cell.shape) == place), None)

    @property
    def harness_ns(self) -> Figure:
        """The harness's own cost: the dearest median of a call that computes nothing."""
        costs = [cell.p50_ns for cell in self.cells if cell.runtime == NULL_RUNTIME]
        known = [cost for cost in costs if isinstance(cost, Estimate)]
        return max(known, key=lambda cost: cost.value) if known else Absent("the null runtime was not measured")


def summarise_compute(run: ComputeRun, *, baseline: str | None = None) -> ComputeSummary:
    """Figures of every cell that was measured; the same run gives the same summary."""
    baseline = baseline or (BASELINE if BASELINE in run.plan.runtimes else run.plan.runtimes[0])
    if baseline not in run.plan.runtimes:
        raise InvalidSettings(f"baseline {baseline!r} is not in the run; it has {', '.join(run.plan.runtimes)}")
    blocks = _by_place(run.blocks)
    firsts: dict[Place, list[FirstCall]] = defaultdict(list)
    for first in run.first_calls:
        firsts[first.runtime, first.sitting.threads, first.shape].append(first)
    roofs = roofs_of([limit for limit in run.limits if limit.device == run.plan.device])
    cells = [_cell(run, place, found, firsts[place], blocks, baseline, roofs) for place, found in blocks.items()]
    cells = _comparable(_self_tested(cells, run.plan.device), baseline)
    scalings, changes = _growth(run, cells, blocks)
    return ComputeSummary(
        run=run,
        baseline=baseline,
        cells=tuple(cells),
        starts=_starts(run),
        roofs=tuple(roofs.values()),
        scalings=scalings,
        crossings=changes,
    )


def _by_place(blocks: Sequence[CallBlock]) -> dict[Place, list[CallBlock]]:
    places: dict[Place, list[CallBlock]] = defaultdict(list)
    for block in blocks:
        places[block.runtime, block.sitting.threads, block.shape].append(block)
    return places


def _cell(
    run: ComputeRun,
    place: Place,
    blocks: Sequence[CallBlock],
    firsts: Sequence[FirstCall],
    all_blocks: Mapping[Place, Sequence[CallBlock]],
    baseline: str,
    roofs: Mapping[tuple[int, Precision], Roof],
) -> ComputeCell:
    runtime, threads, shape = place
    rng = _stream(run, place)
    processes = list(of_processes(blocks).values())
    calls = [calls_of(process) for process in processes]
    p50, p90, p99 = (percentile_of_calls(calls, share, rng) for share in (0.5, 0.9, 0.99))
    spec = None if runtime == NULL_RUNTIME else _spec_of(run, runtime)
    precision = run.plan.precisions[runtime]
    return ComputeCell(
        runtime=runtime,
        threads=threads,
        shape=shape,
        calls=sum(len(block.took_ns) for block in blocks),
        processes=len(processes),
        p50_ns=p50,
        p90_ns=p90,
        p99_ns=p99,
        images_per_s=over_processes(processes, images_per_s, rng),
        cpu_s_per_image=over_processes(processes, cpu_s_per_image, rng),
        first_call_ns=across_processes([first.took_ns for first in firsts], rng),
        ratio=_ratio(run, place, all_blocks, baseline),
        card=None if run.plan.device == "cpu" or spec is None else on_card(processes, rng),
        reached=None
        if spec is None
        else reached(work_of(spec, shape, precision), p50, roofs.get((threads, precision))),
        busy_threads=round(float(np.median([block.busy_threads for block in blocks]))),
        peak_memory_bytes=max((first.peak_memory_bytes for first in firsts), default=0),
        compilations=max((first.compilations for first in firsts), default=0),
        largest_difference=max(
            (one.largest_difference for one in firsts if one.largest_difference is not None), default=None
        ),
        reasons=tuple(reasons_of(blocks)),
        warnings=tuple(warnings_of(run, runtime, threads, blocks, processes)),
    )


def _self_tested(cells: Sequence[ComputeCell], device: str) -> list[ComputeCell]:
    """The self-test: more images and more pixels take longer; a cell that does not was not timed, whatever it says."""
    medians = {(one.runtime, one.threads, one.shape): one.p50_ns for one in cells}
    return [
        replace(one, reasons=(*one.reasons, *growth_faults((one.runtime, one.threads, one.shape), medians, device)))
        for one in cells
    ]


def _comparable(cells: Sequence[ComputeCell], baseline: str) -> list[ComputeCell]:
    """``cells`` without the ratios to a baseline whose numbers must not be compared."""
    invalid = {(one.threads, one.shape) for one in cells if one.runtime == baseline and not one.valid}
    none = Absent(f"{baseline} is invalid here")
    return [replace(one, ratio=none) if (one.threads, one.shape) in invalid else one for one in cells]


def _ratio(run: ComputeRun, place: Place, blocks: Mapping[Place, Sequence[CallBlock]], baseline: str) -> Figure:
    """Median call of this cell over the baseline's at the same shape; processes are resampled."""
    runtime, threads, shape = place
    if runtime == NULL_RUNTIME:
        return Absent("it computes nothing")
    to = (baseline, threads, shape)
    if to not in blocks:
        return Absent(f"{baseline} was not measured here")
    return _ratio_between(run, (place, blocks[place]), (to, blocks[to]))


def ratio_of_cells(run: ComputeRun, of: ComputeCell, to: ComputeCell) -> Figure:
    """How many times as long the median call of one cell takes as that of another; processes are resampled."""
    blocks = _by_place(run.blocks)
    one, other = (((cell.runtime, cell.threads, cell.shape)) for cell in (of, to))
    return _ratio_between(run, (one, blocks[one]), (other, blocks[other]))


def _ratio_between(
    run: ComputeRun, of: tuple[Place, Sequence[CallBlock]], to: tuple[Place, Sequence[CallBlock]]
) -> Figure:
    one, other = (
        resample_median([calls_of(process) for process in of_processes(found).values()], _stream(run, place))
        for place, found in (of, to)
    )
    figure = ratio_of_medians(one, other)
    return (
        replace(figure, of="processes" if figure.of == "runs" else "calls") if isinstance(figure, Estimate) else figure
    )


def _growth(
    run: ComputeRun, cells: Sequence[ComputeCell], blocks: Mapping[Place, Sequence[CallBlock]]
) -> tuple[tuple[ScalingRow, ...], tuple[CrossingRow, ...]]:
    """Fits and crossings of every batch and number of threads, of cells that may be compared."""
    medians: dict[tuple[int, int, str], dict[int, list[float]]] = defaultdict(dict)
    for cell in cells:
        if cell.valid and cell.runtime != NULL_RUNTIME:
            found = of_processes(blocks[cell.runtime, cell.threads, cell.shape])
            key = (cell.threads, cell.shape.batch, cell.runtime)
            medians[key][cell.shape.resolution_px] = [float(np.median(calls_of(found[one]))) for one in sorted(found)]
    scalings, changes = [], []
    for number, ((threads, batch, runtime), of_one) in enumerate(sorted(medians.items())):
        rng = np.random.default_rng([run.plan.seed, number])
        scalings.append(ScalingRow(runtime=runtime, threads=threads, batch=batch, scaling=scaling_of(of_one, rng)))
        for (other_threads, other_batch, other), of_other in sorted(medians.items()):
            if (other_threads, other_batch) == (threads, batch) and other > runtime:
                changes += _changes(threads, batch, (runtime, other), of_one, of_other, rng)
    return tuple(scalings), tuple(changes)


def _changes(
    threads: int, batch: int, names: tuple[str, str], one: Medians, other: Medians, rng: np.random.Generator
) -> list[CrossingRow]:
    return [
        CrossingRow(threads=threads, batch=batch, crossing=crossing) for crossing in crossings(names, one, other, rng)
    ]


def _starts(run: ComputeRun) -> tuple[ComputeStart, ...]:
    groups: dict[tuple[int, str], list[ProcessStart]] = defaultdict(list)
    for start in run.starts:
        groups[start.sitting.threads, start.runtime].append(start)
    peaks: dict[tuple[int, str], int] = defaultdict(int)
    for first in run.first_calls:
        key = (first.sitting.threads, first.runtime)
        peaks[key] = max(peaks[key], first.peak_memory_bytes)
    return tuple(
        ComputeStart(
            runtime=key[1],
            threads=key[0],
            import_ns=_over_starts([start.import_ns for start in group], run),
            load_ns={
                side: _over_starts([start.load_ns[side] for start in group], run) for side in sorted(group[0].load_ns)
            },
            peak_memory_bytes=peaks[key],
            facts=group[0].facts,
        )
        for key, group in sorted(groups.items())
        if key[1] != NULL_RUNTIME
    )


def _over_starts(values: Sequence[float], run: ComputeRun) -> Figure:
    return across_processes(values, np.random.default_rng(run.plan.seed))


def _spec_of(run: ComputeRun, runtime: str) -> ModelSpec | None:
    """The network that a runtime's artifacts hold; None for one that is not in the table."""
    models = [facts.model for facts in run.plan.artifacts if facts.runtime == runtime]
    return SPECS.get(models[0]) if models else None


def _stream(run: ComputeRun, place: Place) -> np.random.Generator:
    """The same randomness for the same cell, whatever else is in the run."""
    runtime, threads, shape = place
    name = f"{runtime}/{threads}/{shape.resolution_px}/{shape.batch}"
    return np.random.default_rng([run.plan.seed, zlib.crc32(name.encode())])
