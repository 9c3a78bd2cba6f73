from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.arrays import FloatArray
from contract.dataset import Dataset, DatasetFacts
from contract.errors import DataUnavailable
from train.batches import BatchStream
from train.settings import TrainSettings, recipe_for, taught
from train.teacher import TaughtStream, Teacher, probabilities, require_same_cells

CELLS = 24
SETTINGS = TrainSettings(batch_images=8, label_smoothing=0.0, jpeg_share=0.0, teacher_share=0.5)


def dataset(resolution_px: int = 12, source: str = "pbc", first_split: int = 0) -> Dataset:
    rng = np.random.default_rng(0)
    facts = DatasetFacts(
        source=source,
        description="",
        resolution_px=resolution_px,
        real=False,
        images=CELLS,
        images_sha256="",
        labels_sha256="",
        splits_sha256="",
    )
    images = rng.integers(0, 256, (CELLS, resolution_px, resolution_px, 3), dtype=np.uint8)
    splits = np.zeros(CELLS, np.uint8)
    splits[0], splits[1:3] = first_split, (1, 2)
    return Dataset(facts, images, (np.arange(CELLS) % 8).astype(np.uint8), splits)


def taught_and_plain(share: float = 0.5) -> tuple[TaughtStream, BatchStream]:
    small, large = dataset(12), dataset(24)
    stream = BatchStream(small.images, small.labels, 8, SETTINGS, large.images)

    def brightest_channel(images: FloatArray) -> FloatArray:
        """A teacher that sees 24 px and knows three classes."""
        assert images.shape[1:] == (24, 24, 3)
        return np.pad(images.mean(axis=(1, 2)) * 9, ((0, 0), (0, 5))).astype(np.float32)

    return TaughtStream(stream, brightest_channel, share), stream


def test_a_share_of_each_target_is_what_the_teacher_says_of_the_larger_image():
    lessons, stream = taught_and_plain(share=0.5)
    for lesson, plain in zip(lessons.epoch(3), stream.epoch(3), strict=True):
        np.testing.assert_array_equal(lesson.images, plain.images)
        np.testing.assert_allclose(lesson.targets.sum(axis=1), 1, rtol=1e-5)
        said = (lesson.targets - 0.5 * plain.targets) / 0.5
        assert (said >= -1e-6).all()
        np.testing.assert_allclose(said[:, 3:], said[:, 3:4].repeat(5, axis=1), rtol=1e-4)  # what it does not know
    assert lessons.steps_per_epoch == stream.steps_per_epoch == 3


@given(logits=st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=9))
def test_probabilities_are_a_distribution_in_the_order_of_the_logits(logits):
    (row,) = probabilities(np.array([logits], np.float32))
    assert row.sum() == pytest.approx(1, rel=1e-5)
    assert row[int(np.argmax(logits))] == row.max()


@pytest.mark.parametrize("other", [dataset(24, source="bloodmnist"), dataset(24, first_split=2)])
def test_a_teacher_of_other_images_or_of_another_split_is_refused(other):
    with pytest.raises(DataUnavailable, match="Next: hemabench data"):
        require_same_cells(dataset(12), Teacher({}, other, "someone"))
    require_same_cells(dataset(12), Teacher({}, dataset(24), "someone"))


def test_a_taught_network_trains_longer_and_mostly_towards_its_teacher():
    recipe = recipe_for(28)
    lesson = taught(recipe)
    assert lesson.epochs > recipe.epochs
    assert lesson.teacher_share > 0.5
    assert replace(lesson, epochs=recipe.epochs).resolution_px == recipe.resolution_px
