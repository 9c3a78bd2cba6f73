"""When requests are sent: schedules fixed in advance, and the named profiles of a campaign.

The time that a whole campaign may take on 2 cores, with 4 runtimes and the null service. In a
full run a service was ready after 1.8 to 3.8 s and stopped within 1 s, an offline prediction
took 1 to 5 s, most of it imports, and Locust starts in 1.5 s. Expected from that:

    quick   10 services x (4 start + 1 stop + 4 offline)        =  90 s
            18 cells x (0.5 warm-up + 2.5 measured + 2)         =  90 s      180 s of 240
    full    100 services x (3 start + 1 stop), 20 offline x 4   = 480 s
            180 cells x (0.3 warm-up + 2.1 measured + 2)        = 792 s    1,272 s

The rest is for finding images, checking artifacts and writing the report. A full campaign
is made of short cells because another start of a service may differ by more than a longer
look at one start can resolve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from contract.blood_cells import RESOLUTIONS_PX
from contract.errors import InvalidSettings
from contract.records.load import Scenario, ScenarioKind
from contract.timing import NS_PER_S
from loadtest.steps import Step, next_step

CLOSED_LOOP = "closed_loop"
OPEN_LOOP = "open_loop"
KINDS = get_args(ScenarioKind)
# An open loop at half of what the service can do: far enough from saturation for a steady
# state, near enough that requests meet each other.
SHARE_OF_CAPACITY = 0.5
LONGER_FROM_PX = 96
# When the peak of a spike begins and ends, as shares of what is measured: before, peak, recovery.
SPIKE = (0.4, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much a campaign measures. ``images`` is how many different ones are sent at each resolution.

    ``duration_s`` is measured up to 96 px and grows with the side from there, because the
    time of a request does, and a percentile wants requests rather than seconds.
    """

    name: str
    resolutions_px: tuple[int, ...]
    warmup_s: float
    duration_s: float
    images: int
    repetitions: int = 1

    def __post_init__(self) -> None:
        for name in ("images", "repetitions"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be at least 1")
        self.closed_loop(0, 1)  # refuses the times that a scenario refuses

    def duration_at(self, resolution_px: int) -> float:
        """Seconds that a cell at that resolution measures."""
        return self.duration_s * max(1.0, resolution_px / LONGER_FROM_PX)

    def closed_loop(self, seed: int, resolution_px: int) -> Scenario:
        """One user who waits for every answer."""
        return Scenario(
            kind="closed_loop", warmup_s=self.warmup_s, duration_s=self.duration_at(resolution_px), seed=seed
        )

    def open_loop(self, seed: int, resolution_px: int, capacity_per_s: float) -> Scenario:
        """Random arrivals at a fixed share of what the closed loop got through."""
        return Scenario(
            kind="open_loop",
            warmup_s=self.warmup_s,
            duration_s=self.duration_at(resolution_px),
            seed=seed,
            arrival_rate_per_s=SHARE_OF_CAPACITY * capacity_per_s,
        )


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="smoke", resolutions_px=(28,), warmup_s=0.2, duration_s=1.0, images=50),  # does it run at all?
        Profile(name="quick", resolutions_px=(28, 64), warmup_s=0.5, duration_s=2.5, images=500),
        Profile(name="full", resolutions_px=RESOLUTIONS_PX, warmup_s=0.3, duration_s=1.5, images=300, repetitions=5),
    )
}


def profile_named(name: str) -> Profile:
    """The profile called ``name``; `InvalidSettings` names the ones that exist."""
    if name not in PROFILES:
        raise InvalidSettings(f"no profile is called {name!r}; choose one of: {', '.join(PROFILES)}")
    return PROFILES[name]


def arrivals_of(scenario: Scenario, step: Step | None = None) -> NDArray[np.int64]:
    """When each request of a ``step`` is due, warm-up included: nanoseconds after its start, ascending.

    The step is the scenario's first unless another is given. Every step draws its own arrivals.
    """
    step = step or next_step(scenario, ())
    if step is None or (step.rate_per_s is None and step.requests is None):
        raise InvalidSettings(f"a {scenario.kind} has no schedule: its requests wait for answers")
    if step.requests is not None:
        return np.zeros(step.requests, dtype=np.int64)
    units = _arrivals_in_units(scenario, _expected_arrivals(scenario, step)[-1], scenario.seed + step.number)
    return _stretched(units, scenario, step)


def poisson_arrivals_ns(rate_per_s: float, duration_s: float, seed: int) -> NDArray[np.int64]:
    """Arrivals of a Poisson process of ``rate_per_s`` during ``duration_s``, as nanoseconds, ascending.

    Their number is itself random. The same seed gives the same pattern at any rate,
    stretched, so that contenders of unlike speed meet the same bursts.
    """
    return (_poisson_units(rate_per_s * duration_s, seed) / rate_per_s * NS_PER_S).astype(np.int64)


def _arrivals_in_units(scenario: Scenario, end: float, seed: int) -> NDArray[np.float64]:
    """Arrivals of a process of rate one up to ``end``."""
    if scenario.arrivals == "poisson":
        return _poisson_units(end, seed)
    return np.arange(math.ceil(end), dtype=np.float64)


def _poisson_units(end: float, seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    pieces: list[NDArray[np.float64]] = []
    last = 0.0
    while last <= end:
        pieces.append(last + random.exponential(size=1024).cumsum())
        last = float(pieces[-1][-1])
    units = np.concatenate(pieces)
    below: NDArray[np.float64] = units[units < end]
    return below


def _turns_s(scenario: Scenario, step: Step) -> list[float]:
    """When the rate changes: start and end, and for a spike its two edges."""
    end_s = step.warmup_s + step.duration_s
    if scenario.kind != "spike":
        return [0.0, end_s]
    return [0.0, *(step.warmup_s + share * step.duration_s for share in SPIKE), end_s]


def _expected_arrivals(scenario: Scenario, step: Step) -> list[float]:
    """How many arrivals are expected until each turn."""
    assert step.rate_per_s is not None  # held by arrivals_of
    rates = [step.rate_per_s, scenario.peak_rate_per_s or step.rate_per_s, step.rate_per_s]
    expected = [0.0]
    for (begin_s, end_s), rate in zip(pairwise(_turns_s(scenario, step)), rates, strict=False):
        expected.append(expected[-1] + rate * (end_s - begin_s))
    return expected


def _stretched(units: NDArray[np.float64], scenario: Scenario, step: Step) -> NDArray[np.int64]:
    """Arrivals of rate one laid along the expected number of arrivals, which turns with the rate."""
    if scenario.kind != "spike":
        assert step.rate_per_s is not None  # held by arrivals_of
        return (units / step.rate_per_s * NS_PER_S).astype(np.int64)
    instants_s = np.interp(units, _expected_arrivals(scenario, step), _turns_s(scenario, step))
    return (instants_s * NS_PER_S).astype(np.int64)
