"""What a card adds to a cell: its own clock, the copies to it and back, and what it drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.compute.measures import images_of, of_calls, over_processes
from analysis.statistics import Absent, Figure, percentile
from contract.records.compute import CallBlock

MJ_PER_J = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCard:
    """Medians of all calls, each absent where the framework or the driver does not tell; energy is over processes."""

    event_p50_ns: Figure
    to_card_p50_ns: Figure
    to_host_p50_ns: Figure
    energy_j_per_image: Figure


def on_card(processes: Sequence[Sequence[CallBlock]], rng: np.random.Generator) -> OnCard:
    """Of the ``processes`` of one cell, each with its blocks."""
    blocks = [block for process in processes for block in process]
    return OnCard(
        event_p50_ns=_median([block.event_ns for block in blocks], "no clock of the card was read"),
        to_card_p50_ns=_median([block.to_card_ns for block in blocks], "this framework copies inside a call only"),
        to_host_p50_ns=_median([block.to_host_ns for block in blocks], "this framework copies inside a call only"),
        energy_j_per_image=_energy(processes, rng),
    )


def _median(times: Sequence[Sequence[int]], otherwise: str) -> Figure:
    found = np.concatenate([np.array(some, np.int64) for some in times])
    return of_calls(percentile(found, 0.5)) if len(found) else Absent(otherwise)


def _energy(processes: Sequence[Sequence[CallBlock]], rng: np.random.Generator) -> Figure:
    counted = [[block for block in process if block.energy_mj is not None] for process in processes]
    counted = [process for process in counted if process]
    return over_processes(counted, _j_per_image, rng) if counted else Absent("the driver did not count, or too briefly")


def _j_per_image(blocks: Sequence[CallBlock]) -> float:
    return sum(block.energy_mj or 0 for block in blocks) / MJ_PER_J / images_of(blocks)
