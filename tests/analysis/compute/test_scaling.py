from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.compute.scaling import crossings, scaling_of
from analysis.statistics import Absent, Estimate

SIDES = (28, 64, 128, 224)
POSITIVE = st.floats(1e2, 1e6)


def line(overhead: float, slope: float, processes: int = 3) -> dict[int, list[float]]:
    return {side: [overhead + slope * side**2] * processes for side in SIDES}


def noisy(overhead: float, slope: float, seed: int, processes: int = 5) -> dict[int, list[float]]:
    rng = np.random.default_rng(seed)
    return {side: list((overhead + slope * side**2) * rng.normal(1, 0.02, processes)) for side in SIDES}


@given(overhead=POSITIVE, slope=st.floats(0.1, 1e3))
def test_a_line_is_found_again(overhead, slope):
    found = scaling_of(line(overhead, slope), np.random.default_rng(0), draws=20)
    assert found.overhead_ns.value == pytest.approx(overhead, rel=1e-3)
    assert found.slope_ns_per_px.value == pytest.approx(slope, rel=1e-3)
    assert found.off_by.value == pytest.approx(0, abs=1e-6)
    assert 0 < found.exponent.value <= 1 + 1e-9


@given(power=st.floats(0.2, 2.5))
def test_a_power_is_found_again(power):
    medians = {side: [float(side) ** (2 * power)] * 2 for side in SIDES}
    found = scaling_of(medians, np.random.default_rng(0), draws=20)
    assert found.exponent.value == pytest.approx(power)


def test_a_curve_is_not_called_a_line():
    medians = {side: [float(side) ** 4] * 3 for side in SIDES}
    assert scaling_of(medians, np.random.default_rng(0)).off_by.value > 0.2


@given(seed=st.integers(0, 1_000))
def test_an_interval_holds_its_value(seed):
    found = scaling_of(noisy(1e5, 20.0, seed), np.random.default_rng(seed), draws=100)
    for figure in (found.overhead_ns, found.slope_ns_per_px, found.exponent, found.off_by):
        assert figure.low <= figure.value <= figure.high
        assert figure.n == 5


def test_two_resolutions_have_a_power_but_no_line():
    found = scaling_of({28: [1.0, 1.1], 64: [3.0, 3.1]}, np.random.default_rng(0))
    assert isinstance(found.exponent, Estimate)
    assert isinstance(found.overhead_ns, Absent)


def test_one_resolution_and_one_process_say_nothing():
    assert isinstance(scaling_of({28: [1.0, 2.0]}, np.random.default_rng(0)).exponent, Absent)
    assert isinstance(scaling_of(line(1.0, 1.0, processes=1), np.random.default_rng(0)).slope_ns_per_px, Absent)


@given(point=st.floats(40, 200))
def test_lines_that_cross_are_found_near_their_crossing(point):
    flat, steep = line(100_000.0 + 10 * point**2, 0.0), line(100_000.0, 10.0)
    (crossing,) = crossings(("steep", "flat"), steep, flat, np.random.default_rng(0), draws=20)
    assert (crossing.faster_below, crossing.faster_above) == ("steep", "flat")
    below, above = max(side for side in SIDES if side <= point), min(side for side in SIDES if side >= point)
    assert below <= crossing.resolution_px.value <= above
    assert crossing.resolution_px.value == pytest.approx(point, rel=0.2)


def test_the_order_of_the_names_does_not_matter():
    one, other = line(100.0, 1.0), line(5_000.0, 0.1)
    (there,) = crossings(("one", "other"), one, other, np.random.default_rng(0))
    (back,) = crossings(("other", "one"), other, one, np.random.default_rng(0))
    assert there == back


def test_parallel_lines_do_not_cross():
    assert crossings(("a", "b"), line(1.0, 1.0), line(2.0, 1.0), np.random.default_rng(0)) == []


def test_a_crossing_that_may_be_noise_has_no_point():
    one = {28: [100.0, 99.0, 103.0, 98.0, 102.0], 64: [100.0, 104.0, 97.0, 103.0, 99.0]}
    other = {28: [101.0, 98.0, 100.5, 103.0, 97.0], 64: [99.0, 103.0, 98.0, 104.0, 97.0]}
    for crossing in crossings(("one", "other"), one, other, np.random.default_rng(0)):
        assert isinstance(crossing.resolution_px, Absent)
        assert "resamples" in crossing.resolution_px.reason
