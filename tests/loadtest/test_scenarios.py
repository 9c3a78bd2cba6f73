from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.blood_cells import RESOLUTIONS_PX
from contract.errors import InvalidSettings
from contract.timing import NS_PER_S
from loadtest.scenarios import PROFILES, Profile, arrivals_of, poisson_arrivals_ns, profile_named

rates = st.floats(0.5, 2_000)
durations = st.floats(0.1, 20)
seeds = st.integers(0, 2**32 - 1)


@given(rates, durations, seeds)
def test_arrivals_ascend_within_the_duration(rate: float, duration: float, seed: int) -> None:
    arrivals = poisson_arrivals_ns(rate, duration, seed)
    assert arrivals.dtype == np.int64
    assert (np.diff(arrivals) >= 0).all()
    assert ((arrivals >= 0) & (arrivals <= duration * NS_PER_S)).all()


@given(rates, durations, seeds)
def test_the_same_seed_gives_the_same_arrivals(rate: float, duration: float, seed: int) -> None:
    assert np.array_equal(poisson_arrivals_ns(rate, duration, seed), poisson_arrivals_ns(rate, duration, seed))


def test_another_seed_gives_other_arrivals() -> None:
    assert not np.array_equal(poisson_arrivals_ns(50, 10, 1), poisson_arrivals_ns(50, 10, 2))


@given(st.floats(20, 2_000), st.floats(1, 20), seeds)
def test_the_number_of_arrivals_is_the_rate_times_the_duration(rate: float, duration: float, seed: int) -> None:
    expected = rate * duration
    assert abs(len(poisson_arrivals_ns(rate, duration, seed)) - expected) < 6 * np.sqrt(expected) + 1


def test_gaps_are_exponential() -> None:
    gaps_s = np.sort(np.diff(poisson_arrivals_ns(100, 200, 7)) / NS_PER_S)
    expected = 1 - np.exp(-100 * gaps_s)
    observed = np.arange(1, len(gaps_s) + 1) / len(gaps_s)
    kolmogorov_smirnov = np.abs(observed - expected).max()
    assert kolmogorov_smirnov < 1.95 / np.sqrt(len(gaps_s))  # passed by 999 of 1,000 true samples


@given(seeds)
def test_a_faster_contender_meets_the_same_pattern_of_bursts(seed: int) -> None:
    slow, fast = poisson_arrivals_ns(10, 20, seed), poisson_arrivals_ns(40, 5, seed)
    assert len(slow) == len(fast)
    assert np.allclose(slow, 4 * fast, atol=4)


def test_an_open_loop_is_scheduled_over_warm_up_and_measurement() -> None:
    scenario = PROFILES["quick"].open_loop(3, 28, capacity_per_s=400)
    assert scenario.arrival_rate_per_s == 200
    total_s = scenario.warmup_s + scenario.duration_s
    assert scenario.warmup_s * NS_PER_S < arrivals_of(scenario)[-1] <= total_s * NS_PER_S


def test_a_closed_loop_has_no_schedule() -> None:
    with pytest.raises(InvalidSettings, match="closed_loop"):
        arrivals_of(PROFILES["quick"].closed_loop(3, 28))


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_has_scenarios_and_known_resolutions(name: str) -> None:
    profile = profile_named(name)
    assert profile.name == name
    assert set(profile.resolutions_px) <= set(RESOLUTIONS_PX)
    assert profile.closed_loop(0, 28).users == 1


def test_the_full_profile_starts_every_service_five_times() -> None:
    assert PROFILES["full"].repetitions == 5


@given(st.integers(1, 2048), st.integers(1, 2048))
def test_larger_images_are_never_measured_for_a_shorter_time(one: int, other: int) -> None:
    small, large = sorted((one, other))
    profile = PROFILES["full"]
    assert profile.duration_s <= profile.duration_at(small) <= profile.duration_at(large)


def test_an_unknown_profile_is_refused_by_name() -> None:
    with pytest.raises(InvalidSettings, match="quick, full"):
        profile_named("leisurely")


def test_a_profile_that_measures_nothing_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="duration_s"):
        Profile(name="x", resolutions_px=(28,), warmup_s=1, duration_s=0, images=1)
