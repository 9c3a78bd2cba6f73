"""When requests are sent: schedules fixed in advance, and the named profiles of a campaign.

The time that a whole campaign may take on 2 cores, with 4 runtimes and one service per
runtime and resolution. Measured at 28 px beside other work: a service is ready after 2 to
6 s and stops within 1 s, an offline prediction takes 1 to 5 s, most of it imports, and
Locust starts in 1.5 s. The budget allows for slower starts and larger images:

    quick   8 services x (7 start + 2 stop + 5 offline)       = 112 s
            16 cells x (0.5 warm-up + 2.5 measured + 1.5)     =  72 s      184 s of 240
    full    16 services x (7 start + 2 stop + 7 offline)      = 256 s
            32 cells x (2 warm-up + 15 measured + 3.5)        = 656 s      912 s of 1,200

The rest is for finding images, checking artifacts and writing the report. At 224 px
Locust's start-up grows to 6 s, because 500 images are encoded before the first is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.blood_cells import RESOLUTIONS_PX
from contract.errors import InvalidSettings
from contract.records import Scenario

NS_PER_S = 1_000_000_000
CLOSED_LOOP = "closed_loop"
OPEN_LOOP = "open_loop"
# An open loop at half of what the service can do: far enough from saturation for a steady
# state, near enough that requests meet each other.
SHARE_OF_CAPACITY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How much a campaign measures. ``images`` is how many different ones are sent at each resolution."""

    name: str
    resolutions_px: tuple[int, ...]
    warmup_s: float
    duration_s: float
    images: int

    def __post_init__(self) -> None:
        if self.images < 1:
            raise InvalidSettings(f"images ({self.images}) must be at least 1")
        self.closed_loop(seed=0)  # refuses the times that a scenario refuses

    def closed_loop(self, seed: int) -> Scenario:
        """One user who waits for every answer."""
        return Scenario(kind="closed_loop", warmup_s=self.warmup_s, duration_s=self.duration_s, seed=seed)

    def open_loop(self, seed: int, capacity_per_s: float) -> Scenario:
        """Random arrivals at a fixed share of what the closed loop got through."""
        return Scenario(
            kind="open_loop",
            warmup_s=self.warmup_s,
            duration_s=self.duration_s,
            seed=seed,
            arrival_rate_per_s=SHARE_OF_CAPACITY * capacity_per_s,
        )


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="smoke", resolutions_px=(28,), warmup_s=0.2, duration_s=1.0, images=50),  # does it run at all?
        Profile(name="quick", resolutions_px=(28, 64), warmup_s=0.5, duration_s=2.5, images=500),
        Profile(name="full", resolutions_px=RESOLUTIONS_PX, warmup_s=2.0, duration_s=15.0, images=500),
    )
}


def profile_named(name: str) -> Profile:
    """The profile called ``name``; `InvalidSettings` names the ones that exist."""
    if name not in PROFILES:
        raise InvalidSettings(f"no profile is called {name!r}; choose one of: {', '.join(PROFILES)}")
    return PROFILES[name]


def arrivals_of(scenario: Scenario) -> NDArray[np.int64]:
    """When each request of an open loop is due, warm-up included: nanoseconds after the start, ascending."""
    if scenario.arrival_rate_per_s is None:
        raise InvalidSettings(f"a {scenario.kind} has no schedule: its requests wait for answers")
    return poisson_arrivals_ns(scenario.arrival_rate_per_s, scenario.warmup_s + scenario.duration_s, scenario.seed)


def poisson_arrivals_ns(rate_per_s: float, duration_s: float, seed: int) -> NDArray[np.int64]:
    """Arrivals of a Poisson process of ``rate_per_s`` during ``duration_s``, as nanoseconds, ascending.

    Their number is itself random. The same seed gives the same pattern at any rate,
    stretched, so that contenders of unlike speed meet the same bursts.
    """
    random = np.random.default_rng(seed)
    end = rate_per_s * duration_s
    pieces: list[NDArray[np.float64]] = []
    last = 0.0
    while last <= end:
        pieces.append(last + random.exponential(size=1024).cumsum())
        last = float(pieces[-1][-1])
    units = np.concatenate(pieces)
    return (units[units < end] / rate_per_s * NS_PER_S).astype(np.int64)
