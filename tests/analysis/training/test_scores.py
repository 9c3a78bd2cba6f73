"""Statistics of recorded answers, against scikit-learn and examples worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import Absent, Estimate, holm
from analysis.training.scores import (
    accuracy,
    calibration_error,
    confusion,
    exact_mcnemar,
    mean_auc,
    mean_over_seeds,
    probabilities,
    recalls,
)

chances = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_the_auc_is_medmnists_own():
    from medmnist.evaluator import getAUC

    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 300).astype(np.uint8)
    logits = rng.normal(size=(300, 4)).round(1).astype(np.float32)  # rounded, so that there are ties
    shares = probabilities(logits)
    found = mean_auc(logits, labels)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(getAUC(labels[:, np.newaxis], shares, "multi-class"), abs=1e-12)
    assert found.low < found.value < found.high
    assert (found.n, found.of) == (300, "images")


def test_there_is_no_auc_without_images_of_every_class():
    assert isinstance(mean_auc(np.eye(3, dtype=np.float32)[:2], np.array([0, 1], np.uint8)), Absent)


def test_confusion_counts_true_classes_in_rows():
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    labels = np.array([0, 0, 1, 2], np.uint8)
    assert confusion(logits, labels).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    found = recalls(confusion(logits, labels))
    assert [figure.value for figure in found if isinstance(figure, Estimate)] == [0.5, 1, 1]
    share = accuracy(logits, labels)
    assert isinstance(share, Estimate)
    assert (share.value, share.n) == (0.75, 4)


def test_confidence_that_is_always_right_half_of_the_time_is_off_by_half():
    logits = np.tile(np.array([[50.0, 0.0]], np.float32), (10, 1))
    labels = np.array([0, 1] * 5, np.uint8)
    found, calibrated = calibration_error(logits, labels), calibration_error(logits, labels, temperature=1e6)
    assert isinstance(found, Estimate)
    assert isinstance(calibrated, Estimate)
    assert found.value == pytest.approx(0.5)
    assert calibrated.value == pytest.approx(0, abs=1e-4)
    assert found.low < found.value < found.high


def test_students_interval_of_three_seeds():
    found = mean_over_seeds([1.0, 2.0, 3.0])
    assert isinstance(found, Estimate)
    assert (found.value, found.n, found.of) == (2, 3, "seeds")
    assert found.high - found.value == pytest.approx(2.484, abs=1e-3)  # 4.303 / sqrt(3)
    assert isinstance(mean_over_seeds([1.0]), Absent)


def test_mcnemar_is_the_binomial_test_with_one_half():
    # By hand: 2 * (1 + 12 + 66) / 2**12
    assert exact_mcnemar(2, 10) == pytest.approx(0.03857, abs=1e-5)
    assert exact_mcnemar(5, 5) == 1
    assert exact_mcnemar(0, 0) == 1


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_does_not_care_which_comes_first(one, other):
    assert exact_mcnemar(one, other) == exact_mcnemar(other, one)
    assert 0 <= exact_mcnemar(one, other) <= 1


def test_holm_multiplies_the_smallest_most():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        (0.03, 0.06, 0.06, 0.02)
    )  # by hand: 3 * 0.01, 2 * 0.03 twice, 4 * 0.005


@given(chances)
def test_holm_never_lowers_a_chance_nor_changes_their_order(found):
    corrected = holm(found)
    assert all(plain <= after <= 1 for plain, after in zip(found, corrected, strict=True))
    order = sorted(range(len(found)), key=lambda index: found[index])
    assert [corrected[index] for index in order] == sorted(corrected)
