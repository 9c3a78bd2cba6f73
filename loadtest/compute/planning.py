"""What a compute run sets out to measure: its settings, its profiles, its `ComputePlan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contract.blood_cells import RESOLUTIONS_PX
from contract.environment import describe_environment
from contract.errors import InvalidSettings
from contract.records.compute import ComputePlan, InputKind, Shape, Sitting
from contract.records.load import NULL_RUNTIME, ArtifactFacts
from contract.timing import NS_PER_MS
from loadtest.artifacts import artifact_facts, same_weights
from loadtest.folders import new_run_name
from loadtest.service.processes import own_cores
from serving.inference.devices import CPU, Device, parse_device
from serving.runtimes import RUNTIMES, entry_of, require_made_for, require_runtime

DIVISIONS = ("closed", "open", "all")
# A median takes 11 values before its interval holds (analysis.statistics.fewest_requests).
CALLS_OF_A_MEDIAN = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeProfile:
    """How much is measured. ``block_ms`` is a budget for the calls of one shape in one round of one process."""

    name: str
    resolutions_px: tuple[int, ...]
    batches: tuple[int, ...]
    processes: int
    rounds: int
    block_ms: int
    most_calls: int = 2_000


PROFILES = {
    "full": ComputeProfile(
        name="full", resolutions_px=RESOLUTIONS_PX, batches=(1, 8, 32, 128), processes=3, rounds=2, block_ms=250
    ),
    "card": ComputeProfile(
        name="card", resolutions_px=RESOLUTIONS_PX, batches=(1, 8, 64, 256, 1024), processes=3, rounds=2, block_ms=250
    ),
    "quick": ComputeProfile(
        name="quick", resolutions_px=(28, 64), batches=(1, 8, 32), processes=2, rounds=2, block_ms=300
    ),
    "smoke": ComputeProfile(
        name="smoke", resolutions_px=(28, 64), batches=(1, 4), processes=2, rounds=2, block_ms=20, most_calls=50
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSettings:
    """What to measure. ``threads`` holds every number of threads that is to be tried; empty: one, and all cores."""

    profile: ComputeProfile
    artifacts: Path
    runtimes: tuple[str, ...]
    threads: tuple[int, ...] = ()
    device: str = "cpu"
    input: InputKind = "float32"
    results: Path = Path("results")
    run: str | None = None
    resume: bool = False
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if not self.runtimes:
            raise InvalidSettings("no runtime was named; name at least one")
        if self.resume and self.run is None:
            raise InvalidSettings("resume without a run: name the folder under results/ that is to be resumed")
        if excess := [threads for threads in self.threads if not 1 <= threads <= len(own_cores())]:
            raise InvalidSettings(f"threads ({excess[0]}) must be between 1 and the {len(own_cores())} cores there are")


def profile_named(name: str) -> ComputeProfile:
    """The profile called ``name``; `InvalidSettings` names the ones there are."""
    if name not in PROFILES:
        raise InvalidSettings(f"no profile is called {name!r}; choose one of: {', '.join(PROFILES)}")
    return PROFILES[name]


def runtimes_of(division: str, device: Device = CPU) -> tuple[str, ...]:
    """The runtimes of ``division`` made for such a device, in the table's order; null belongs to no division."""
    if division not in DIVISIONS:
        raise InvalidSettings(f"division {division!r} is not one of: {', '.join(DIVISIONS)}")
    return tuple(
        name
        for name, entry in RUNTIMES.items()
        if entry.division != "none" and division in ("all", entry.division) and device.kind in entry.devices
    )


def plan_compute(settings: ComputeSettings) -> ComputePlan:
    """The plan, on this machine and now; every artifact is checked against its manifest.

    The null runtime is always there: what it takes is the harness's own cost.
    """
    profile, now = settings.profile, datetime.now(UTC)
    for runtime in settings.runtimes:
        require_runtime(runtime)
        require_made_for(runtime, parse_device(settings.device))
    names = tuple(dict.fromkeys((*settings.runtimes, NULL_RUNTIME)))
    return ComputePlan(
        run=settings.run or new_run_name(f"compute-{profile.name}", now),
        created=now.isoformat(timespec="seconds"),
        profile=profile.name,
        command=settings.command,
        environment=describe_environment(),
        device=settings.device,
        input=settings.input,
        artifacts=_artifacts(settings),
        runtimes=names,
        divisions={name: entry_of(name).division for name in names},
        precisions={name: entry_of(name).precision for name in names},
        shapes=tuple(
            sorted(
                Shape(resolution_px=side, batch=n) for side in set(profile.resolutions_px) for n in set(profile.batches)
            )
        ),
        sittings=_sittings(profile, settings.threads or tuple(sorted({1, len(own_cores())}))),
        rounds=profile.rounds,
        block_ns=profile.block_ms * NS_PER_MS,
        fewest_calls=-(-CALLS_OF_A_MEDIAN // (profile.processes * profile.rounds)),
        most_calls=profile.most_calls,
        seed=settings.seed,
    )


def _sittings(profile: ComputeProfile, threads: Sequence[int]) -> tuple[Sitting, ...]:
    """All numbers of threads come before the next repetition, so that a machine that slows down slows all alike."""
    return tuple(
        Sitting(repetition=repetition, threads=number)
        for repetition in range(1, profile.processes + 1)
        for number in threads
    )


def _artifacts(settings: ComputeSettings) -> tuple[ArtifactFacts, ...]:
    formats: Mapping[str, str | None] = {name: entry_of(name).format for name in settings.runtimes}
    return same_weights(
        artifact_facts(settings.artifacts, name, format_, side)
        for name, format_ in formats.items()
        if format_ is not None
        for side in settings.profile.resolutions_px
    )
