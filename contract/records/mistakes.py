"""What a run of `hemabench mistakes` records: the mistakes it makes, and every call it timed.

    results/<run>/
        mistakes.json         MistakesPlan: the table of mistakes, the machine, the data; written first
        processes.journal     ProcessRecord, one line for every process that was started
        bursts.journal        Burst, one line for calls that followed each other
        answers.journal       Answers, one line for a way that changes what is answered
        report.html, mistakes.png, summary.json    derived from the above
        SHA256SUMS            the seal: a digest of every file, when the run has ended

Times of one burst come from one monotonic clock, that of the process which called.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.environment import Environment

MISTAKES_VERSION = 1
PLAN_FILE = "mistakes.json"
PROCESSES_FILE = "processes.journal"
BURSTS_FILE = "bursts.journal"
ANSWERS_FILE = "answers.journal"
CHART_FILE = "mistakes.png"

FRAMEWORKS = ("pytorch", "tensorflow", "jax")
CAREFUL = "careful"  # the way that every mistake is held against
Phase = Literal["first", "warmup", "measured"]

# What is made of the calls of one process.
#   median, mean, p99      of its measured calls
#   first_call_in_mean     mean of its first call and the measured ones that make up the first hundred
#   mean_of_ten            mean of ten calls in a row, drawn at random: no number of a process, a lottery
#   closed_p99             p99 of the calls, as a client sees them that waits before it asks again
#   open_p99               p99 of the response times when the same calls serve arrivals that wait for nobody (replayed)
Statistic = Literal["median", "mean", "p99", "first_call_in_mean", "mean_of_ten", "closed_p99", "open_p99"]

# Which way the reported time of those who make the mistake goes: up, down, apart from call to call, or not known ahead.
Direction = Literal["slower", "faster", "scatters", "either"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a process is started: with its threads, or on all cores with as many as the framework takes."""

    name: str
    threads: int | None


ONE_THREAD = Setup(name="one_thread", threads=1)
ALL_CORES = Setup(name="all_cores", threads=None)
SETUPS = {setup.name: setup for setup in (ONE_THREAD, ALL_CORES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake, alone: who makes it, how it is reported, and what it is held against.

    ``ways`` says which way of calling takes the place of the careful one, by framework; those
    that are not in it go on carefully. ``references`` says the same for the side without the
    mistake, where that is not `CAREFUL`. ``statistic`` is reported with the mistake,
    ``reference_statistic`` without. ``answers`` is true where other classes may be answered.
    ``not_measured`` says why there are no numbers.
    """

    name: str
    title: str
    done: str
    why: str
    evidence: tuple[str, ...]
    expected: Direction
    ways: dict[str, str]
    references: dict[str, str]
    setup: str = ONE_THREAD.name
    statistic: Statistic = "median"
    reference_statistic: Statistic = "median"
    answers: bool = False
    not_measured: str | None = None

    @property
    def affected(self) -> tuple[str, ...]:
        """The frameworks that make it: all of them where it lies in the statistic alone."""
        return FRAMEWORKS if not self.ways else tuple(name for name in FRAMEWORKS if name in self.ways)

    def way(self, framework: str) -> tuple[str, str]:
        """Setup and way of ``framework`` with the mistake."""
        if framework in self.ways:
            return self.setup, self.ways[framework]
        return self.reference(framework)

    def reference(self, framework: str) -> tuple[str, str]:
        """Setup and way of ``framework`` without it."""
        return ONE_THREAD.name, self.references.get(framework, CAREFUL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakesPlan:
    """What a run set out to measure, and where."""

    run: str
    created: str  # ISO 8601, UTC
    profile: str
    command: str
    environment: Environment
    resolution_px: int
    photograph_px: int  # side of the images that preprocessing starts from
    data_description: str
    data_is_real: bool
    images: int  # how many were classified for the answers
    weights_digest: str
    processes: int  # per framework and setup
    load_average: float  # of the machine, one minute, when the run began
    seed: int
    mistakes: tuple[Mistake, ...]
    mistakes_version: int = MISTAKES_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process of one framework: how it started, and what it says of itself.

    ``largest_difference`` is that of any logit of a way from the float64 reference.
    """

    framework: str
    setup: str
    process: int
    import_ns: int
    build_ns: int
    cores: tuple[int, ...]
    facts: dict[str, str]
    largest_difference: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Calls that followed each other: when each began and when the clock was stopped."""

    framework: str
    setup: str
    process: int
    way: str
    phase: Phase
    round: int
    started_ns: tuple[int, ...]
    finished_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The classes that a way answers for the same images, in one order, and the true ones."""

    framework: str
    way: str
    classes: tuple[int, ...]
    expected: tuple[int, ...]


def is_mistakes_folder(folder: Path) -> bool:
    """Whether ``folder`` was made by `hemabench mistakes`."""
    return (folder / PLAN_FILE).is_file()
