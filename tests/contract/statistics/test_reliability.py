"""The calibration error and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.statistics.reliability import calibration_error_interval, expected_calibration_error


def test_a_calibration_error_is_the_gap_between_confidence_and_accuracy():
    confidences = np.repeat([0.95, 0.55], [80, 20])
    correct = np.concatenate([np.arange(80) < 60, np.arange(20) < 11])
    assert expected_calibration_error(confidences, correct) == pytest.approx(0.8 * 0.2 + 0.2 * 0.0)


def test_a_confidence_of_one_has_a_bin():
    assert expected_calibration_error(np.ones(4), np.array([True, True, True, False])) == pytest.approx(0.25)


def test_a_bin_holds_its_upper_edge():
    # 1/15 belongs to the first bin, with what lies below it: gaps of -1/15 and +1 - 1/30 are in one bin.
    confidences = np.array([1 / 15, 1 / 30])
    assert expected_calibration_error(confidences, np.array([False, True])) == pytest.approx((1 - 1 / 10) / 2)


@settings(deadline=None, max_examples=20)  # a thousand draws each
@given(st.integers(2, 60), st.integers(0, 2**31))
def test_the_interval_holds_the_value(images, seed):
    rng = np.random.default_rng(seed)
    confidences, correct = rng.uniform(0.125, 1, images), rng.random(images) < 0.7
    low, high = calibration_error_interval(confidences, correct)
    assert 0 <= low <= expected_calibration_error(confidences, correct) <= high <= 1


def test_four_times_the_images_give_about_half_the_interval():
    def width(images):
        rng = np.random.default_rng(1)
        confidences = rng.uniform(0.5, 1, images)
        low, high = calibration_error_interval(confidences, rng.random(images) < confidences - 0.2)
        return high - low

    assert width(8_000) == pytest.approx(width(2_000) / 2, rel=0.25)
