"""What a run of `hemabench compute` records: every call of ``predict`` that was timed, in raw nanoseconds.

    results/<run>/
        compute.json                    ComputePlan: what was to be measured, where, on which artifacts; written first
        limits.json                     MachineLimits of every number of threads
        sittings/<sitting>/
            starts.journal              ProcessStart, one line for every process
            first_calls.journal         FirstCall, one line for every shape of every process
            blocks.journal              CallBlock, one line for calls that followed each other
            sitting.json                Sitting, written when all of it is there
        report.html  summary.json       derived from the above
        SHA256SUMS                      the seal: a digest of every file, when the run has ended

Times of one call come from one monotonic clock, that of the process which called.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.environment import Environment
from contract.errors import InvalidSettings
from contract.parity import Precision
from contract.records.load import ArtifactFacts

COMPUTE_VERSION = 1
COMPUTE_FILE = "compute.json"
LIMITS_FILE = "limits.json"
SITTING_FILE = "sitting.json"
STARTS_FILE = "starts.journal"
FIRST_CALLS_FILE = "first_calls.journal"
BLOCKS_FILE = "blocks.journal"

InputKind = Literal["float32", "uint8"]


def is_compute_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a run of `hemabench compute`."""
    return (folder / COMPUTE_FILE).is_file()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Shape:
    """What one call is given: ``batch`` images of ``resolution_px`` squared."""

    resolution_px: int
    batch: int

    def __post_init__(self) -> None:
        if self.resolution_px < 1 or self.batch < 1:
            raise InvalidSettings(f"resolution_px ({self.resolution_px}) and batch ({self.batch}) must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """Processes that live side by side: one fresh process of every runtime, all with the same threads."""

    repetition: int
    threads: int

    @property
    def name(self) -> str:
        """Unique in its run, and a folder's name: ``r1-2threads``."""
        return f"r{self.repetition}-{self.threads}thread{'s' if self.threads != 1 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputePlan:
    """What a run set out to measure. Sittings without a `SITTING_FILE` are missing, and reported so.

    ``block_ns`` is how long calls of one shape follow each other before another runtime's turn;
    ``fewest_calls`` are made however long they take, ``most_calls`` end a block early.
    ``divisions`` says of every runtime whether it is compared like for like or tuned,
    ``precisions`` what it computes in.
    """

    run: str
    created: str  # ISO 8601, UTC
    profile: str
    command: str
    environment: Environment
    device: str
    input: InputKind
    artifacts: tuple[ArtifactFacts, ...]
    runtimes: tuple[str, ...]
    divisions: dict[str, str]
    precisions: dict[str, Precision]
    shapes: tuple[Shape, ...]
    sittings: tuple[Sitting, ...]
    rounds: int
    block_ns: int
    fewest_calls: int
    most_calls: int
    seed: int
    compute_version: int = COMPUTE_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStart:
    """One process: what it took to import the framework and to load every resolution, and what it says of itself."""

    runtime: str
    sitting: Sitting
    cores: tuple[int, ...]
    import_ns: int  # the framework and the runtime around it, thread pools included
    load_ns: dict[int, int]  # by resolution, the check of the artifact's digests left out
    facts: dict[str, str]
    load_average: float  # of the machine, one minute


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCall:
    """The first call of a shape, compilation included, on golden images, whose logits were right.

    ``largest_difference`` is None for a runtime that computes nothing. ``peak_memory_bytes`` is that
    of the process so far: shapes come in ascending order.
    """

    runtime: str
    sitting: Sitting
    shape: Shape
    took_ns: int
    compilations: int
    largest_difference: float | None
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBlock:
    """Calls that followed each other: input in host memory to logits in host memory, each.

    ``settling_ns`` are calls before them that refill caches and are not measured; ``wall_ns`` and
    ``cpu_ns`` (all threads) span the measured calls. ``busy_threads`` used more than a hundredth of
    that time; ``sleepers_cpu_ns`` is what all other runtimes' processes used meanwhile.
    ``event_ns`` are the device's own times of separate calls, where it has a clock; ``to_card_ns`` and
    ``to_host_ns`` those of copying input and logits alone. ``energy_mj`` is what a card drew during the measured
    calls, where its driver counts it.
    """

    runtime: str
    sitting: Sitting
    shape: Shape
    round: int
    settling_ns: tuple[int, ...]
    took_ns: tuple[int, ...]
    wall_ns: int
    cpu_ns: int
    busy_threads: int
    compilations: int
    sleepers_cpu_ns: int
    event_ns: tuple[int, ...] = ()
    to_card_ns: tuple[int, ...] = ()
    to_host_ns: tuple[int, ...] = ()
    energy_mj: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """How fast a library multiplies square matrices: the work of one product and what every one of them took."""

    precision: Precision
    library: str
    side: int
    took_ns: tuple[int, ...]

    @property
    def flops(self) -> int:
        """Of one product, multiplications and additions counted apart."""
        return 2 * self.side**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Triad:
    """``a = b + s * c`` over arrays that no cache holds; ``traffic_bytes`` is what ``passes_ns`` each moved."""

    library: str
    array_bytes: int
    traffic_bytes: int
    passes_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """What ``device`` can do, the processor with ``threads``; ``missing`` says why a precision has no peak."""

    threads: int
    peaks: tuple[Peak, ...]
    triad: Triad
    missing: dict[str, str]
    device: str = "cpu"
