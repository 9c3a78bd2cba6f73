"""Whether a cell's numbers may be compared, and what to know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.compute.measures import Place, calls_of
from analysis.compute.runs import ComputeRun
from analysis.statistics import Estimate, Figure
from contract.records.compute import CallBlock
from contract.records.load import NULL_RUNTIME

MOST_SLEEPERS_SHARE = 0.02
LEAST_CORE_SHARE = 0.95
MOST_SPREAD = 1.2
LEAST_WALL_NS = 10_000_000  # below it, a share of the time says nothing
# Work that is this many times as much takes longer, whatever a kernel makes of its shape. A GPU has
# room for many small images beside each other: there only much more work takes longer.
SURELY_MORE, SURELY_MORE_ON_A_GPU = 4, 1_000


def reasons_of(blocks: Sequence[CallBlock]) -> list[str]:
    """Why the calls of a cell must not be compared: a program that was compiled among them."""
    compiled = sum(block.compilations for block in blocks)
    return [f"{compiled} programs were compiled while calls were timed"] if compiled else []


def warnings_of(
    run: ComputeRun, runtime: str, threads: int, blocks: Sequence[CallBlock], processes: Sequence[Sequence[CallBlock]]
) -> list[str]:
    """What to know of a cell: a disturbed machine, sleepers that did not sleep, processes that disagree."""
    warnings = []
    wanted = sum(sitting.threads == threads for sitting in run.plan.sittings)
    if len(processes) < wanted:
        warnings.append(f"{len(processes)} of {wanted} processes")
    wall_ns = sum(block.wall_ns for block in blocks)
    sleepers = sum(block.sleepers_cpu_ns for block in blocks) / wall_ns
    if sleepers > MOST_SLEEPERS_SHARE and wall_ns > LEAST_WALL_NS:
        warnings.append(f"the runtimes that should sleep used {sleepers:.0%} of a core meanwhile")
    share = sum(block.cpu_ns for block in blocks) / wall_ns
    if run.plan.device == "cpu" and share < LEAST_CORE_SHARE:
        warnings.append(f"the process got {share:.0%} of a core: the machine did something else, or the runtime waited")
    if runtime == NULL_RUNTIME:
        return warnings
    medians = [float(np.median(calls_of(process))) for process in processes]
    if max(medians) > MOST_SPREAD * min(medians):
        warnings.append(f"medians of processes differ by {max(medians) / min(medians):.2f} times")
    return warnings


def growth_faults(place: Place, medians: Mapping[Place, Figure], device: str) -> list[str]:
    """Where ``place`` does not surely take longer than one with far less work; empty, as it must be, or reasons.

    A clock that stops before the work is done gives every shape the same time.
    """
    runtime, threads, larger = place
    least = SURELY_MORE if device == "cpu" else SURELY_MORE_ON_A_GPU
    p50_ns = medians[place]
    if runtime == NULL_RUNTIME or not isinstance(p50_ns, Estimate):
        return []
    faults = []
    for (other, same_threads, shape), other_ns in medians.items():
        nested = shape.resolution_px <= larger.resolution_px and shape.batch <= larger.batch
        pixels, more = (one.batch * one.resolution_px**2 for one in (shape, larger))
        comparable = (other, same_threads) == (runtime, threads) and nested and least * pixels <= more
        if comparable and isinstance(other_ns, Estimate) and p50_ns.low <= other_ns.high:
            faults.append(
                f"does not surely take longer than {shape.resolution_px} px, batch {shape.batch}: something else was "
                "timed than the work, or the machine was disturbed"
            )
    return faults
