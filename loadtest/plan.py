"""What a campaign asks of the load generator, and what the generator says it did.

<cell>/load.json        LoadPlan, written before the generator starts
<cell>/generator.json   LoadTally, written when it has ended; absent after a kill
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.errors import InvalidSettings
from contract.records import Scenario

PLAN_FILE = "load.json"
TALLY_FILE = "generator.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One offering of load: a scenario, the images, and where the records go.

    ``in_flight_limit`` is how many requests of an open loop may be unanswered at once;
    an arrival beyond it is dropped and counted. After the last request answers are
    waited for during ``drain_s``; what is open then is aborted.
    """

    scenario: Scenario
    resolution_px: int
    dataset: str
    record_to: str
    images: int = 500
    image_seed: int = 0
    timeout_s: float = 30.0
    drain_s: float = 10.0
    in_flight_limit: int = 1024

    def __post_init__(self) -> None:
        for name in ("resolution_px", "images", "timeout_s", "drain_s", "in_flight_limit"):
            if getattr(self, name) <= 0:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be > 0")

    @property
    def longest_s(self) -> float:
        """When the last request is settled, counted from the first."""
        return self.scenario.warmup_s + self.scenario.duration_s + self.drain_s


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTally:
    """The generator's own count, kept apart from the journal so that one can be held against the other.

    ``complete`` is false when the load was stopped before its end. ``cpu_share`` is the
    processor time that the generator took, of one core.
    """

    started: int
    ok: int
    failed: int
    aborted: int
    dropped: int
    cpu_share: float
    complete: bool
