"""Areas under the curve against scikit-learn, and DeLong's variance against its definition, pair by pair."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from contract.statistics.intervals import wilson
from contract.statistics.ranking import area_under_curve, mean_area_of_classes, mean_area_of_strata


def groups(positives=40, negatives=25, apart=0.8, seed=0):
    """Values rounded, so that there are ties; positives are larger by ``apart`` on average."""
    rng = np.random.default_rng(seed)
    positive = np.arange(positives + negatives) < positives
    return (rng.normal(size=len(positive)) + apart * positive).round(1), positive


def pairwise_delong(values, positive):
    """Area and variance as in DeLong et al., equations 3 to 6, from the kernel of every pair."""
    larger = values[positive][:, np.newaxis] - values[~positive]
    kernel = np.where(larger == 0, 0.5, larger > 0)
    of_positives, of_negatives = kernel.mean(axis=1), kernel.mean(axis=0)
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    return kernel.mean(), variance


def half_width(area):
    """Of the interval, on the scale of the logarithm of odds, where it is symmetric."""
    return (log(area.high / (1 - area.high)) - log(area.low / (1 - area.low))) / 2


@given(st.integers(0, 1_000))
def test_the_area_is_scikit_learns(seed):
    values, positive = groups(seed=seed)
    assert area_under_curve(values, positive) == pytest.approx(roc_auc_score(positive, values), abs=1e-12)


def test_one_stratum_has_delongs_interval():
    values, positive = groups()
    expected, variance = pairwise_delong(values, positive)
    found = mean_area_of_strata([(values, positive)])
    assert found.value == pytest.approx(expected)
    assert half_width(found) == pytest.approx(1.959964 * sqrt(variance) / (expected * (1 - expected)), rel=1e-5)
    assert found.images == 65


def test_two_classes_are_one_comparison_seen_from_both_sides():
    values, positive = groups()
    both = mean_area_of_classes(np.stack([-values, values], axis=1), positive.astype(np.uint8))
    one = mean_area_of_strata([(values, positive)])
    assert (both.value, both.low, both.high) == pytest.approx((one.value, one.low, one.high))


def test_independent_strata_narrow_the_interval_by_the_root_of_their_number():
    one = mean_area_of_strata([groups()])
    four = mean_area_of_strata([groups()] * 4)
    assert half_width(four) == pytest.approx(half_width(one) / 2)


def test_the_interval_of_a_mean_over_classes_covers_what_it_promises():
    # 400 draws; nine in ten intervals of 95 % and more must hold the area of very many images.
    def draw(rng, images):
        labels = rng.integers(0, 3, images)
        return rng.normal(size=(images, 3)) + 1.2 * np.eye(3)[labels], labels

    rng = np.random.default_rng(2)
    true = mean_area_of_classes(*draw(rng, 200_000)).value
    found = [mean_area_of_classes(*draw(rng, 120)) for _ in range(400)]
    assert 0.92 < np.mean([area.low <= true <= area.high for area in found]) < 0.98


def test_groups_that_do_not_overlap_have_an_interval_all_the_same():
    values = np.arange(30.0)
    found = mean_area_of_strata([(values, values >= 20)])
    assert (found.value, found.low, found.high) == (1, *wilson(10, 10))
    turned = mean_area_of_strata([(-values, values >= 20)])
    assert (turned.value, turned.low, turned.high) == (0, *wilson(0, 10))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=30))
def test_an_interval_holds_its_area_and_stays_between_0_and_1(drawn):
    values, positive = np.array([value for value, _ in drawn]), np.array([flag for _, flag in drawn])
    if positive.all() or not positive.any():
        with pytest.raises(ValueError, match="no area"):
            mean_area_of_strata([(values, positive)])
        return
    found = mean_area_of_strata([(values, positive)])
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
