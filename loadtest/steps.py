"""The steps of a scenario: what is offered next, given what became of the steps before.

Most scenarios are one step. A ladder climbs until the service no longer keeps up; a
search closes in on the highest rate that holds a limit. Both are pure functions of counts,
so that several workers come to the same next step, and a test can play any service.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contract.records.load import Scenario, StepOutcome
from contract.statistics.rates import holds_limit, keeps_up

LONGEST_LADDER = 24
LONGEST_SEARCH = 16
# A search ends when the lowest rate that missed is this close to the highest that passed.
SEARCH_RESOLUTION = 1.1
# With no request late it takes 459 to say "p99 is within the limit" at 99 % confidence;
# 1,000 still leave room for three late ones.
FEWEST_TO_JUDGE = 1_000
OFFLINE_WARMUP_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load without a pause. ``requests`` are due at once; ``rate_per_s`` is None in a closed loop."""

    number: int
    warmup_s: float
    duration_s: float
    rate_per_s: float | None = None
    requests: int | None = None
    measured: bool = True


def next_step(scenario: Scenario, outcomes: Sequence[StepOutcome]) -> Step | None:
    """What to offer after the steps whose ``outcomes`` are known; None when the scenario is over."""
    number = len(outcomes)
    if scenario.kind == "offline":
        return _offline_step(scenario, number)
    rate = _next_rate(scenario, outcomes)
    if (number > 0 and not scenario.has_steps) or (scenario.has_steps and rate is None):
        return None
    duration_s = scenario.duration_s
    if scenario.kind == "find_rate" and rate is not None:
        duration_s = max(duration_s, FEWEST_TO_JUDGE / rate)
    return Step(number=number, warmup_s=scenario.warmup_s, duration_s=duration_s, rate_per_s=rate)


def _offline_step(scenario: Scenario, number: int) -> Step | None:
    """A tenth of the requests to warm up, then all."""
    assert scenario.requests is not None  # held by Scenario
    warmup = math.ceil(OFFLINE_WARMUP_SHARE * scenario.requests) if scenario.warmup_s else 0
    steps = [(warmup, scenario.warmup_s, False)] if warmup else []
    steps.append((scenario.requests, scenario.duration_s, True))
    if number >= len(steps):
        return None
    requests, longest_s, measured = steps[number]
    return Step(number=number, warmup_s=0.0, duration_s=longest_s, requests=requests, measured=measured)


def _next_rate(scenario: Scenario, outcomes: Sequence[StepOutcome]) -> float | None:
    first = scenario.arrival_rate_per_s
    if not outcomes or first is None:
        return first
    if scenario.kind == "ladder":
        over = len(outcomes) == LONGEST_LADDER or not keeps_up(outcomes[-1])
        return None if over else first * scenario.rate_growth ** len(outcomes)
    return _next_probe(outcomes, scenario.rate_growth) if len(outcomes) < LONGEST_SEARCH else None


def _next_probe(outcomes: Sequence[StepOutcome], growth: float) -> float | None:
    """Outwards from the first rate until one passes and one misses, then between the two, in equal ratios."""
    rates = [(outcome.rate_per_s or 0.0, keeps_up(outcome) and holds_limit(outcome)) for outcome in outcomes]
    missed = min((rate for rate, passed in rates if not passed), default=math.inf)
    # A pass above a miss is luck: what counts is the highest below every miss.
    passed = max((rate for rate, passed in rates if passed and rate < missed), default=0.0)
    if missed == math.inf:
        return passed * growth
    if passed == 0.0:
        return missed / growth
    return None if missed / passed <= SEARCH_RESOLUTION else math.sqrt(passed * missed)
