"""What int8 may cost, counted on images whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.blood_cells import LABELS
from contract.dataset import SPLITS, Dataset, DatasetFacts
from contract.errors import AccuracyLost
from train.quantisation.gate import compared, paired_difference, require_accuracy

IMAGES = 200


@pytest.fixture
def dataset() -> Dataset:
    """Validation images only, of classes in turn."""
    labels = (np.arange(IMAGES) % len(LABELS)).astype(np.uint8)
    facts = DatasetFacts(
        source="synthetic",
        description="rendered",
        resolution_px=28,
        real=False,
        images=IMAGES,
        images_sha256="",
        labels_sha256="",
        splits_sha256="",
    )
    splits = np.full(IMAGES, SPLITS.index("validation"), np.uint8)
    return Dataset(facts, np.zeros((IMAGES, 28, 28, 3), np.uint8), labels, splits)


def answers(dataset: Dataset, wrong: set[int]) -> np.ndarray:
    """Logits that name each image's class, but for those at the positions ``wrong``."""
    named = [(int(label) + (position in wrong)) % len(LABELS) for position, label in enumerate(dataset.labels)]
    return np.eye(len(LABELS), dtype=np.float32)[named]


def test_what_was_lost_is_counted_on_the_same_images(dataset):
    found = compared(answers(dataset, {0, 1, 2}), answers(dataset, {2, 3, 4, 5, 6}), dataset)
    assert found.float32.value == pytest.approx(197 / 200)
    assert found.int8.value == pytest.approx(195 / 200)
    assert found.lost.value == pytest.approx(2 / 200)
    assert found.lost.low < 0 < found.lost.value < found.lost.high
    assert {metric.split for metric in (found.float32, found.int8, found.lost)} == {"validation"}


def test_a_network_that_keeps_its_share_passes_and_one_image_less_does_not(dataset):
    before = answers(dataset, set())
    require_accuracy("a", compared(before, answers(dataset, {0, 1}), dataset))
    with pytest.raises(AccuracyLost, match=r"a: 98\.50% of 200 validation images .* keep 99% of that\. Next: "):
        require_accuracy("a", compared(before, answers(dataset, {0, 1, 2}), dataset))


@given(unlearnt=st.integers(0, 500), learnt=st.integers(0, 500), others=st.integers(1, 5_000))
def test_the_interval_holds_the_difference_shrunk_by_two_images_and_turns_with_the_sides(unlearnt, learnt, others):
    images = unlearnt + learnt + others
    low, high = paired_difference(unlearnt, learnt, images)
    assert low < (unlearnt - learnt) / (images + 2) < high
    assert paired_difference(learnt, unlearnt, images) == pytest.approx((-high, -low))


def test_the_interval_agrees_with_a_table_worked_by_hand():
    # 10 lost and 4 won of 98: (10.5 - 4.5) / 100 ± 1.96 * sqrt(15 - 36 / 100) / 100
    assert paired_difference(10, 4, 98) == pytest.approx((-0.014992, 0.134992), abs=1e-6)


@pytest.mark.parametrize("counts", [(-1, 0, 5), (0, -1, 5), (3, 3, 5), (0, 0, 0)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="of"):
        paired_difference(*counts)
