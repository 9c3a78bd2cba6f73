"""One side of a comparison: what a run was measured with, and the times of its valid cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.compute.measures import Place, calls_of, of_processes
from analysis.compute.runs import ComputeRun, load_compute_run
from analysis.compute.summary import summarise_compute
from analysis.load.runs import Run, load_run
from analysis.load.verdicts import judge
from analysis.statistics import NumberColumn
from contract.environment import Environment
from contract.progress import Progress, silent
from contract.records.compute import CallBlock, is_compute_folder
from contract.records.load import STEPPED_KINDS, ArtifactFacts, Scenario

LOAD, COMPUTE = "load", "compute"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """What is compared with itself: a runtime at a resolution, under a scenario or in calls of a shape."""

    resolution_px: int
    runtime: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run. ``times_ns`` are one column for each valid repetition; ``offered`` says under what they were taken."""

    run: str
    kind: str
    environment: Environment
    artifacts: Mapping[tuple[str, int], ArtifactFacts]
    data: str | None
    times_ns: Mapping[Key, Sequence[NumberColumn]]
    offered: Mapping[Key, str]
    seed: int


def load_side(folder: Path, progress: Progress = silent) -> Side:
    """The run in ``folder``, of load tests or of `hemabench compute`; raises what its loader raises."""
    if is_compute_folder(folder):
        return _compute_side(load_compute_run(folder))
    return _load_side(load_run(folder, progress))


def _load_side(run: Run) -> Side:
    plan = run.plan
    times: dict[Key, list[NumberColumn]] = {}
    offered: dict[Key, str] = {}
    for recorded in run.cells:
        cell = recorded.cell
        if cell.scenario in STEPPED_KINDS or judge(run, recorded).status != "valid":
            continue
        key = Key(resolution_px=cell.resolution_px, runtime=cell.runtime, how=cell.scenario)
        times.setdefault(key, []).append(recorded.requests.answers().response_time_ns)
        if recorded.outcome is not None and recorded.outcome.scenario is not None:
            cores = len(recorded.outcome.service_cores)
            offered.setdefault(key, _in_words(recorded.outcome.scenario, cores))
    return Side(
        run=plan.run,
        kind=LOAD,
        environment=plan.environment,
        artifacts=_by_place(plan.artifacts),
        data=f"{plan.data_source}, {plan.data_description}, {plan.data_split}",
        times_ns=times,
        offered=offered,
        seed=plan.seed,
    )


def _compute_side(run: ComputeRun) -> Side:
    plan = run.plan
    blocks: dict[Place, list[CallBlock]] = {}
    for block in run.blocks:
        blocks.setdefault((block.runtime, block.sitting.threads, block.shape), []).append(block)
    times: dict[Key, list[NumberColumn]] = {}
    for cell in summarise_compute(run).cells:
        if cell.valid:
            threads = f"{cell.threads} thread{'s' if cell.threads != 1 else ''}"
            how = f"batch {cell.shape.batch}, {threads}"
            key = Key(resolution_px=cell.shape.resolution_px, runtime=cell.runtime, how=how)
            processes = of_processes(blocks[cell.runtime, cell.threads, cell.shape])
            times[key] = [calls_of(process) for process in processes.values()]
    return Side(
        run=plan.run,
        kind=COMPUTE,
        environment=plan.environment,
        artifacts=_by_place(plan.artifacts),
        data=None,  # every call is given the artifact's own golden images
        times_ns=times,
        offered=dict.fromkeys(times, f"{plan.input} on {plan.device}"),
        seed=plan.seed,
    )


def _by_place(artifacts: Sequence[ArtifactFacts]) -> dict[tuple[str, int], ArtifactFacts]:
    return {(facts.runtime, facts.resolution_px): facts for facts in artifacts}


def _in_words(scenario: Scenario, cores: int) -> str:
    """What was offered, to a reader who wonders why two runs differ."""
    words = [f"{scenario.users} user{'s' if scenario.users != 1 else ''}"] if scenario.kind == "closed_loop" else []
    if scenario.arrival_rate_per_s is not None:
        words.append(f"{scenario.arrival_rate_per_s:.4g}/s {scenario.arrivals}")
    if scenario.peak_rate_per_s is not None:
        words.append(f"peak {scenario.peak_rate_per_s:.4g}/s")
    if scenario.requests is not None:
        words.append(f"{scenario.requests:,} requests, {scenario.users} at once")
    words.append(f"service on {cores} core{'s' if cores != 1 else ''}" if cores else "service not pinned")
    return ", ".join(words)


def median_ns(times_ns: NumberColumn) -> float:
    """The median of one repetition."""
    return float(np.median(times_ns))
