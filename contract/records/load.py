"""What was measured: raw events in integer nanoseconds, nothing averaged, nothing rounded.

    results/<run>/
        run.json                          RunPlan: what was to be measured, where, on which artifacts
        offline/<runtime>-<side>px.json   OfflinePredictions: the answers without HTTP
        cells/<cell>/requests.journal     RequestRecord, one line each, as they happened
        cells/<cell>/cell.json            CellOutcome, written when the cell is finished
        pictures/<side>px/<image>.png     what a report shows of images that were answered wrongly
        chapters/<kind>/<run>/            records of runs of other kinds, copied, where a report has them
        report.html                       derived from the above
        summary.json                      the numbers of the report
        SHA256SUMS                        the seal: a digest of every file, when the run has ended

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
SUMMARY_FILE = "summary.json"
# The ``failure`` of a request that was cut off when the load ended; it counts as aborted, not as failed.
ABORTED = "aborted"

# The runtime that computes nothing: what a request to it takes is the floor under all others.
NULL_RUNTIME = "null"

Phase = Literal["warmup", "measured"]
ScenarioKind = Literal["closed_loop", "open_loop", "soak", "spike", "offline", "ladder", "find_rate"]
TRAINED_ON = "trained_on"  # the fact of a service that says on which data and split its weights were trained
STEPPED_KINDS = frozenset({"ladder", "find_rate"})
# Each setting must be there for these kinds, and for no other.
SETTINGS_OF_KINDS = {
    "arrival_rate_per_s": {"open_loop", "soak", "spike", "ladder", "find_rate"},
    "peak_rate_per_s": {"spike"},
    "requests": {"offline"},
    "p99_limit_s": {"find_rate"},
}
# What `hemabench load` calls them.
OPTION_OF = {
    "arrival_rate_per_s": "--arrival-rate",
    "peak_rate_per_s": "--peak-rate",
    "requests": "--requests",
    "p99_limit_s": "--p99-ms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How load is offered.

    ``closed_loop``  ``users`` each wait for an answer before the next request (MLPerf's
                     SingleStream for one user)
    ``open_loop``    requests arrive at instants drawn in advance from ``seed``, whether or not
                     the service keeps up (MLPerf's Server)
    ``soak``         the same for long, judged by windows
    ``spike``        the same, with ``peak_rate_per_s`` during the middle fifth
    ``offline``      ``requests`` are all due at once, ``users`` of them under way (MLPerf's
                     Offline); ``duration_s`` is the longest that it may take
    ``ladder``       open loops one after another, each with ``rate_growth`` times the rate of
                     the one before, until the service no longer keeps up
    ``find_rate``    open loops that close in on the highest rate with p99 <= ``p99_limit_s``

    ``duration_s`` follows ``warmup_s``; a ladder and a search have both in every step, and
    ``arrival_rate_per_s`` is the rate of their first. ``arrivals`` is Poisson or evenly spaced.
    """

    kind: ScenarioKind
    warmup_s: float
    duration_s: float
    seed: int
    users: int = 1
    arrival_rate_per_s: float | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    peak_rate_per_s: float | None = None
    requests: int | None = None
    p99_limit_s: float | None = None
    rate_growth: float = 1.5

    def __post_init__(self) -> None:
        if not (0 <= self.warmup_s < inf and 0 < self.duration_s < inf):
            raise InvalidSettings(f"warmup_s ({self.warmup_s}) must be >= 0 and duration_s ({self.duration_s}) > 0")
        if self.users < 1:
            raise InvalidSettings(f"users ({self.users}) must be at least 1")
        if not 1 < self.rate_growth < inf:
            raise InvalidSettings(f"rate_growth ({self.rate_growth}) must be above 1")
        for name, kinds in SETTINGS_OF_KINDS.items():
            value = getattr(self, name)
            if (self.kind in kinds) != (value is not None):
                raise InvalidSettings(
                    f"{self.kind} needs {name}. Next: {OPTION_OF[name]}"
                    if value is None
                    else f"{name} ({value}) is for {', '.join(sorted(kinds))}. Next: leave {OPTION_OF[name]} away"
                )
            if value is not None and not 0 < value < inf:
                raise InvalidSettings(f"{name} ({value}) must be > 0")

    @property
    def has_steps(self) -> bool:
        """Whether it is several loads one after another, each to be looked at by itself."""
        return self.kind in STEPPED_KINDS


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
    step: int = 0  # of a ladder or a search
    connect_ns: int = 0  # after sent_ns: waited for a new connection; 0 where one was kept alive
    receive_ns: int = 0  # before finished_ns: from the answer's head to its last byte

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
class RunSettings:
    """How all cells of a run are measured; ``duration_s`` grows with the resolution, by the profile's rule."""

    device: str
    threads: int
    images: int
    warmup_s: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run set out to measure. Cells without a `CellOutcome` are missing, and reported so.

    ``settings`` are None for a service that somebody else started.
    """

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
    settings: RunSettings | None = None
    data_split: Split = "test"  # which images are sent; scores name it
    records_version: int = RECORDS_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """One step of a scenario, as counts that workers may add up. ``rate_per_s`` is None without a schedule.

    Of the requests that were to be measured: ``due`` (dropped ones included), answered
    positively ``by_end`` of the step, and ``in_time`` where there is a limit to the response time.
    """

    step: int
    rate_per_s: float | None
    began_ns: int
    measured_from_ns: int
    end_ns: int
    due: int
    by_end: int
    in_time: int
    dropped: int

    def __add__(self, other: StepOutcome) -> StepOutcome:
        """Both workers' together; the rates add up because each worker sends its share of the arrivals."""
        rates = [rate for rate in (self.rate_per_s, other.rate_per_s) if rate is not None]
        return StepOutcome(
            step=self.step,
            rate_per_s=sum(rates) if rates else None,
            began_ns=min(self.began_ns, other.began_ns),
            measured_from_ns=min(self.measured_from_ns, other.measured_from_ns),
            end_ns=max(self.end_ns, other.end_ns),
            due=self.due + other.due,
            by_end=self.by_end + other.by_end,
            in_time=self.in_time + other.in_time,
            dropped=self.dropped + other.dropped,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineUse:
    """What the machine did while a cell was measured, as its kernel counts it.

    ``busy_ns`` is the processor time of everybody on ``cores``, ``own_ns`` that of service,
    load generator and campaign, None where the service is not ours; ``stolen_ns`` is what a
    host kept of a virtual machine's cores. ``clock_hz`` are samples of the service's cores, a second
    apart or more, none where the kernel does not tell; ``throttled`` is how often it counted that.
    """

    cores: tuple[int, ...]
    elapsed_ns: int
    busy_ns: int
    own_ns: int | None
    stolen_ns: int
    clock_hz: tuple[int, ...] = ()
    throttled: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutcome:
    """How a cell ended. started = ok + failed + aborted, or the records are not complete.

    ``dropped`` arrivals were never sent because too many requests were in flight.
    ``answered_by_service`` is the service's own count of positive answers. ``load_average``
    is the machine's, one minute, when the cell began. ``error`` says why a cell has no numbers.
    ``workers`` is how many processes offered the load. ``compilations`` are programs that the
    service compiled meanwhile; these and ``machine`` are None where they are not known.
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
    service_facts: dict[str, str]  # `TRAINED_ON` among them, where the service says it
    error: str | None = None
    steps: tuple[StepOutcome, ...] = ()
    workers: int = 1
    compilations: int | None = None
    machine: MachineUse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePredictions:
    """The classes that a runtime gives in-process: ``classes[i]`` belongs to data set position ``images[i]``."""

    runtime: str
    resolution_px: int
    artifact_digest: str
    data_source: str
    images: tuple[int, ...]
    classes: tuple[int, ...]
