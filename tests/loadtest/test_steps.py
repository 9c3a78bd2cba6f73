from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import InvalidSettings
from contract.records.load import Scenario, StepOutcome
from contract.statistics.rates import binomial_cdf, holds_limit, keeps_up
from contract.timing import NS_PER_S
from loadtest.scenarios import arrivals_of
from loadtest.steps import (
    LONGEST_LADDER,
    LONGEST_SEARCH,
    SEARCH_RESOLUTION,
    Step,
    next_step,
)


def scenario(kind: str, **changes: Any) -> Scenario:
    given: dict[str, Any] = {"kind": kind, "warmup_s": 1.0, "duration_s": 10.0, "seed": 3}
    if kind != "closed_loop" and kind != "offline":
        given["arrival_rate_per_s"] = 50.0
    given |= {"find_rate": {"p99_limit_s": 0.1}, "spike": {"peak_rate_per_s": 400.0}, "offline": {"requests": 500}}.get(
        kind, {}
    )
    return Scenario(**given | changes)


def outcome(step: Step, *, by_end: float = 1.0, in_time: float = 1.0, dropped: int = 0) -> StepOutcome:
    due = round((step.rate_per_s or 100.0) * step.duration_s)
    return StepOutcome(
        step=step.number,
        rate_per_s=step.rate_per_s,
        began_ns=0,
        measured_from_ns=0,
        end_ns=0,
        due=due,
        by_end=int(due * by_end),
        in_time=int(due * in_time),
        dropped=dropped,
    )


def play(offered: Scenario, capacity_per_s: float) -> list[StepOutcome]:
    """The steps against a service that answers at once up to its capacity, and too late above it."""
    outcomes: list[StepOutcome] = []
    while (step := next_step(offered, outcomes)) is not None:
        assert step.number == len(outcomes)
        assert step.rate_per_s is not None
        share = min(1.0, capacity_per_s / step.rate_per_s)
        outcomes.append(outcome(step, by_end=share, in_time=1.0 if share == 1.0 else 0.5))
    return outcomes


@pytest.mark.parametrize("kind", ["closed_loop", "open_loop", "soak", "spike"])
def test_a_plain_scenario_is_one_step(kind: str) -> None:
    step = next_step(scenario(kind), ())
    assert step is not None
    assert (step.warmup_s, step.duration_s) == (1.0, 10.0)
    assert next_step(scenario(kind), [outcome(step)]) is None


@given(st.floats(5, 5_000))
def test_a_ladder_ends_with_the_first_step_that_the_service_cannot_carry(capacity_per_s: float) -> None:
    outcomes = play(scenario("ladder", arrival_rate_per_s=10.0), capacity_per_s)
    assert len(outcomes) <= LONGEST_LADDER
    assert all(keeps_up(one) for one in outcomes[:-1])
    assert not keeps_up(outcomes[-1])
    rates = [one.rate_per_s or 0 for one in outcomes]
    assert rates == pytest.approx([10.0 * 1.5**step for step in range(len(rates))])


@given(st.floats(1, 10_000), st.floats(1, 10_000))
def test_a_search_encloses_the_capacity_wherever_it_begins(capacity_per_s: float, first: float) -> None:
    outcomes = play(scenario("find_rate", arrival_rate_per_s=first, rate_growth=4.0), capacity_per_s)
    assert len(outcomes) <= LONGEST_SEARCH
    passed = max(one.rate_per_s or 0 for one in outcomes if holds_limit(one) and keeps_up(one))
    missed = min(one.rate_per_s or 0 for one in outcomes if not (holds_limit(one) and keeps_up(one)))
    assert passed <= capacity_per_s < missed
    assert missed / passed <= SEARCH_RESOLUTION


def test_a_slow_search_step_takes_as_long_as_a_thousand_requests_take() -> None:
    step = next_step(scenario("find_rate", arrival_rate_per_s=20.0), ())
    assert step is not None
    assert step.duration_s == 50.0


def test_no_late_request_of_459_is_the_least_that_holds_p99() -> None:
    """The number that every account of LoadGen's rule gives."""
    least = next(n for n in range(1, 1_000) if binomial_cdf(0, n, 0.01) <= 0.01)
    assert least == 459


@given(st.integers(1, 400), st.floats(0.01, 0.99))
def test_the_binomial_sums_to_one(n: int, share: float) -> None:
    assert binomial_cdf(n, n, share) == pytest.approx(1.0)
    sums = [binomial_cdf(k, n, share) for k in range(n)]
    assert sums == sorted(sums)


def test_a_dropped_arrival_is_a_service_that_does_not_keep_up() -> None:
    step = Step(number=0, warmup_s=0, duration_s=10, rate_per_s=100)
    assert keeps_up(outcome(step))
    assert not keeps_up(outcome(step, dropped=1))


def test_offline_warms_up_with_a_tenth_and_then_sends_all_at_once() -> None:
    offline = scenario("offline")
    warm, measured = next_step(offline, ()), next_step(offline, [outcome(Step(number=0, warmup_s=0, duration_s=1))])
    assert warm is not None
    assert measured is not None
    assert (warm.requests, warm.measured) == (50, False)
    assert (measured.requests, measured.measured) == (500, True)
    assert not arrivals_of(offline, measured).any()
    assert next_step(offline, [outcome(warm), outcome(measured)]) is None


def test_even_arrivals_are_even() -> None:
    arrivals = arrivals_of(scenario("open_loop", arrivals="constant"))
    assert len(arrivals) == 550
    assert set(arrivals[1:] - arrivals[:-1]) <= {NS_PER_S // 50, NS_PER_S // 50 + 1, NS_PER_S // 50 - 1}


def test_a_spike_has_its_peak_in_the_middle_fifth_and_recovers() -> None:
    arrivals = arrivals_of(scenario("spike", arrivals="constant")) / NS_PER_S
    counts = [int(((arrivals >= begin) & (arrivals < end)).sum()) for begin, end in ((1, 5), (5, 7), (7, 11))]
    assert counts == pytest.approx([200, 800, 200], abs=2)


def test_every_step_draws_arrivals_of_its_own() -> None:
    ladder = scenario("ladder")
    first, again = (Step(number=number, warmup_s=0, duration_s=5, rate_per_s=50) for number in (0, 1))
    assert list(arrivals_of(ladder, first)) != list(arrivals_of(ladder, again))
    assert list(arrivals_of(ladder, again)) == list(arrivals_of(ladder, again))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("closed_loop", {"arrival_rate_per_s": 10.0}),
        ("open_loop", {"arrival_rate_per_s": None}),
        ("open_loop", {"peak_rate_per_s": 10.0}),
        ("spike", {"peak_rate_per_s": None}),
        ("find_rate", {"p99_limit_s": 0.0}),
        ("offline", {"requests": None}),
        ("ladder", {"rate_growth": 1.0}),
    ],
)
def test_a_setting_that_belongs_to_another_scenario_is_refused(kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings):
        scenario(kind, **changes)
