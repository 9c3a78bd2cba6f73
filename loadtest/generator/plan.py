"""What a campaign asks of the load generator, and what the generator says it did.

<cell>/load.json        LoadPlan, written before the generator starts
<cell>/generator.json   LoadTally, written when it has ended; absent after a kill
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.errors import InvalidSettings
from contract.records.load import Scenario, StepOutcome
from loadtest.scenarios import CLOSED_LOOP
from loadtest.steps import FEWEST_TO_JUDGE, LONGEST_LADDER, LONGEST_SEARCH

PLAN_FILE = "load.json"
TALLY_FILE = "generator.json"
# Of a search whose service is far slower than it was thought to be; longer only where its steps were asked to be long.
LONGEST_S = 7_200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One offering of load: a scenario, the images, and where the records go.

    ``in_flight_limit`` is how many requests of an open loop may be unanswered at once;
    an arrival beyond it is dropped and counted. After the last request of a schedule answers are
    waited for during ``drain_s``; what is open then is aborted. In a closed loop all are waited for
    until they time out: each user has at most one out, and the slowest must not be missing.
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
    def patience_s(self) -> float:
        """How long answers are waited for after the last request."""
        return max(self.drain_s, self.timeout_s) if self.scenario.kind == CLOSED_LOOP else self.drain_s

    @property
    def longest_s(self) -> float:
        """When the last request is settled at the latest, counted from the first."""
        scenario = self.scenario
        steps = {"offline": 2, "ladder": LONGEST_LADDER, "find_rate": LONGEST_SEARCH}.get(scenario.kind, 1)
        step_s = scenario.warmup_s + scenario.duration_s + self.patience_s
        if scenario.kind == "find_rate" and scenario.arrival_rate_per_s is not None:
            slowest = scenario.arrival_rate_per_s / scenario.rate_growth**LONGEST_SEARCH
            return min(steps * (step_s + FEWEST_TO_JUDGE / slowest), max(LONGEST_S, steps * step_s))
        return steps * step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTally:
    """The generator's own count, kept apart from the journal so that one can be held against the other.

    ``complete`` is false when the load was stopped before its end. ``cpu_share`` is the
    processor time that the generator took, of one core. ``late_ns`` is how long after the
    instant that was named for it a worker began a step, the latest of all; 0 without workers.
    """

    started: int
    ok: int
    failed: int
    aborted: int
    dropped: int
    cpu_share: float
    complete: bool
    steps: tuple[StepOutcome, ...] = ()
    workers: int = 1
    late_ns: int = 0
