"""What a check looks at, where trust ends, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.load.runs import Requests
from contract.errors import InvalidSettings
from contract.records.load import ArtifactFacts, CellOutcome, OfflinePredictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where trust ends. Every limit in force is printed in the report."""

    # Locust's own warning level: above it, its loop is what is measured.
    generator_cpu_share: float = 0.9
    # On a quiet core the 99th percentile is 1 ms; on a shared two-core machine 4 to 6 were measured.
    send_delay_p99_ms: float = 20.0
    # Of the median response time; above it the number says more of the generator than of the service.
    send_delay_share: float = 0.1
    # How far the median may move between the halves of a cell before it is named, and before it is refused.
    drift_to_name: float = 1.1
    drift_to_refuse: float = 1.25
    # Of the cores' time: what other programs, or the machine's other guests, may take before it is named, and refused.
    foreign_to_name: float = 0.05
    foreign_to_refuse: float = 0.25
    # How far the clock of the service's cores may fall during a cell.
    clock_fall_to_name: float = 0.1
    clock_fall_to_refuse: float = 0.25
    # The parts add up to the service's total within the larger of the two.
    parts_gap_share: float = 0.01
    parts_gap_us: float = 20.0

    def __post_init__(self) -> None:
        if not 1 < self.drift_to_name <= self.drift_to_refuse:
            raise InvalidSettings(
                f"drift_to_name ({self.drift_to_name}) must be above 1 and at most drift_to_refuse "
                f"({self.drift_to_refuse})"
            )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check noticed; ``fatal`` makes the cell invalid."""

    fatal: bool
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.what}. Next: {self.todo}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the checks of one finished cell look at."""

    requests: Requests
    outcome: CellOutcome
    artifact: ArtifactFacts | None
    predictions: OfflinePredictions | None
    data_source: str
    cores: int
    torn: bool
    limits: Limits
