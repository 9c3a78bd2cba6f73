from __future__ import annotations

from collections.abc import Callable

import pytest

from contract.errors import InvalidSettings


@pytest.mark.parametrize("name", ["resolution_px", "images", "timeout_s", "drain_s", "in_flight_limit"])
def test_a_plan_that_offers_nothing_is_refused(make_plan: Callable, name: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{name} .* must be > 0"):
        make_plan(**{name: 0})


def test_whoever_waits_for_answers_waits_as_long_as_they_may_take(make_plan: Callable) -> None:
    assert make_plan(timeout_s=30, drain_s=10).patience_s == 30
    assert make_plan(rate_per_s=5, timeout_s=30, drain_s=10).patience_s == 10


def test_a_search_with_long_steps_has_time_for_all_of_them(make_plan: Callable) -> None:
    search = {"kind": "find_rate", "rate_per_s": 50.0, "p99_limit_s": 0.1}
    assert make_plan(**search, duration_s=600).longest_s > 16 * 600
    # A service that is far slower than it was thought to be does not hold a machine for days.
    assert make_plan(**search, duration_s=1).longest_s <= 7_200
