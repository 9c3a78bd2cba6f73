"""What was measured: raw events in integer nanoseconds, nothing averaged, nothing rounded.

    results/<run>/
        run.json                          RunPlan: what was to be measured, where, on which artifacts
        offline/<runtime>-<side>px.json   OfflinePredictions: the answers without HTTP
        cells/<cell>/requests.journal     RequestRecord, one line each, as they happened
        cells/<cell>/cell.json            CellOutcome, written when the cell is finished
        report.html                       derived from the above

Times of one record come from one monotonic clock, the client's; ``parts_ns`` are
durations that the service measured on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from contract.dataset import Split
from contract.environment import Environment
from contract.errors import InvalidSettings

RECORDS_VERSION = 1
RUN_FILE = "run.json"
CELL_FILE = "cell.json"
REQUESTS_FILE = "requests.journal"
REPORT_FILE = "report.html"
# The ``failure`` of a request that was cut off when the load ended; it counts as aborted, not as failed.
ABORTED = "aborted"

Phase = Literal["warmup", "measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How load is offered.

    ``closed_loop``: ``users`` each wait for an answer before the next request (MLPerf's
    SingleStream for one user). ``open_loop``: requests arrive at instants drawn in advance
    from ``seed`` (MLPerf's Server), whether or not the service keeps up; ``arrival_rate_per_s``
    belongs to it alone. ``duration_s`` follows ``warmup_s``.
    """

    kind: Literal["closed_loop", "open_loop"]
    warmup_s: float
    duration_s: float
    seed: int
    users: int = 1
    arrival_rate_per_s: float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.warmup_s < inf and 0 < self.duration_s < inf):
            raise InvalidSettings(f"warmup_s ({self.warmup_s}) must be >= 0 and duration_s ({self.duration_s}) > 0")
        if self.users < 1:
            raise InvalidSettings(f"users ({self.users}) must be at least 1")
        if (self.kind == "open_loop") != (self.arrival_rate_per_s is not None):
            raise InvalidSettings(
                f"{self.kind} with arrival_rate_per_s={self.arrival_rate_per_s}: only an open loop has one"
            )
        if self.arrival_rate_per_s is not None and not 0 < self.arrival_rate_per_s < inf:
            raise InvalidSettings(f"arrival_rate_per_s ({self.arrival_rate_per_s}) must be > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request, on the client's monotonic clock.

    ``image`` is the position in the data set, ``expected`` its true class, ``answered`` the
    class in the answer. ``status`` is 0 and ``failure`` says why where no answer came.
    """

    request: int
    phase: Phase
    image: int
    expected: int
    scheduled_ns: int  # when the scenario meant to send it; equals sent_ns in a closed loop
    sent_ns: int
    finished_ns: int
    status: int
    answered: int | None
    failure: str | None
    parts_ns: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether a whole, readable, positive answer came."""
        return self.failure is None

    @property
    def response_time_ns(self) -> int:
        """What a user would have waited, our own delay in sending included."""
        return self.finished_ns - self.scheduled_ns

    @property
    def round_trip_time_ns(self) -> int:
        """From sending to the last byte of the answer."""
        return self.finished_ns - self.sent_ns

    @property
    def send_delay_ns(self) -> int:
        """How late the load generator was; belongs to no service."""
        return self.sent_ns - self.scheduled_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One thing to measure: a runtime at a resolution under a scenario, for the n-th time."""

    runtime: str
    resolution_px: int
    scenario: str
    repetition: int = 1

    @property
    def name(self) -> str:
        """Unique in its run, and a folder's name: ``onnx-28px-closed_loop-r1``."""
        return f"{self.runtime}-{self.resolution_px}px-{self.scenario}-r{self.repetition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFacts:
    """Which artifact a run measured, copied from its manifest so that the run folder explains itself."""

    runtime: str
    resolution_px: int
    model: str
    format: str
    digest: str
    weights_digest: str
    parity_largest_difference: float
    parity_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run set out to measure. Cells without a `CellOutcome` are missing, and reported so."""

    run: str
    created: str  # ISO 8601, UTC
    profile: str
    command: str
    environment: Environment
    data_source: str
    data_description: str
    data_is_real: bool
    artifacts: tuple[ArtifactFacts, ...]
    cells: tuple[Cell, ...]
    seed: int
    data_split: Split = "test"  # which images are sent; scores name it
    records_version: int = RECORDS_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutcome:
    """How a cell ended. started = ok + failed + aborted, or the records are not complete.

    ``dropped`` arrivals were never sent because too many requests were in flight.
    ``answered_by_service`` is the service's own count of positive answers. ``load_average``
    is the machine's, one minute, when the cell began. ``error`` says why a cell has no numbers.
    """

    cell: Cell
    scenario: Scenario | None
    started: int
    ok: int
    failed: int
    aborted: int
    dropped: int
    answered_by_service: int | None
    start_up_s: float | None
    generator_cpu_share: float | None
    service_cores: tuple[int, ...]
    generator_cores: tuple[int, ...]
    load_average: float
    service_facts: dict[str, str]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePredictions:
    """The classes that a runtime gives in-process: ``classes[i]`` belongs to data set position ``images[i]``."""

    runtime: str
    resolution_px: int
    artifact_digest: str
    data_source: str
    images: tuple[int, ...]
    classes: tuple[int, ...]
