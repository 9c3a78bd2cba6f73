"""What a card adds to a cell: its own clock, the copies to it and back, and what it drew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.compute.measures import images_of, over_processes, percentile_of_calls
from analysis.statistics import Absent, Figure
from contract.records.compute import CallBlock

MJ_PER_J = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCard:
    """Medians of all calls, absent where framework or driver do not tell; intervals are over processes."""

    event_p50_ns: Figure
    to_card_p50_ns: Figure
    to_host_p50_ns: Figure
    energy_j_per_image: Figure


def on_card(processes: Sequence[Sequence[CallBlock]], rng: np.random.Generator) -> OnCard:
    """Of the ``processes`` of one cell, each with its blocks."""

    def median(times_of: Callable[[CallBlock], Sequence[int]], otherwise: str) -> Figure:
        times = [np.array([time for block in process for time in times_of(block)], np.int64) for process in processes]
        found = [some for some in times if len(some)]
        return percentile_of_calls(found, 0.5, rng) if found else Absent(otherwise)

    return OnCard(
        event_p50_ns=median(lambda block: block.event_ns, "no clock of the card was read"),
        to_card_p50_ns=median(lambda block: block.to_card_ns, "this framework copies inside a call only"),
        to_host_p50_ns=median(lambda block: block.to_host_ns, "this framework copies inside a call only"),
        energy_j_per_image=_energy(processes, rng),
    )


def _energy(processes: Sequence[Sequence[CallBlock]], rng: np.random.Generator) -> Figure:
    counted = [[block for block in process if block.energy_mj is not None] for process in processes]
    counted = [process for process in counted if process]
    return over_processes(counted, _j_per_image, rng) if counted else Absent("the driver did not count, or too briefly")


def _j_per_image(blocks: Sequence[CallBlock]) -> float:
    return sum(block.energy_mj or 0 for block in blocks) / MJ_PER_J / images_of(blocks)
