from __future__ import annotations

import numpy as np
import pytest

from contract.blood_cells import LABELS
from contract.dataset import Dataset, DatasetFacts
from train.evaluate import IMAGES_AT_ONCE, accuracy, logits_of, recalls


def dataset(images: int = 300) -> Dataset:
    """Flat images whose grey level tells their class; every third belongs to the test split."""
    labels = (np.arange(images) % 8).astype(np.uint8)
    pixels = np.broadcast_to((labels * 20)[:, None, None, None], (images, 4, 4, 3)).astype(np.uint8)
    splits = (np.arange(images) % 3).astype(np.uint8)
    digest = "0" * 64
    facts = DatasetFacts(
        source="flat",
        description="flat greys",
        resolution_px=4,
        real=False,
        images=images,
        images_sha256=digest,
        labels_sha256=digest,
        splits_sha256=digest,
    )
    return Dataset(facts, pixels, labels, splits)


def knows_grey(images):
    greys = np.round((images[:, 0, 0, 0] + 1) * 127.5 / 20).astype(int)
    return np.eye(8, dtype=np.float32)[greys]


def test_every_image_of_the_split_is_answered_once_and_in_order():
    data = dataset(images=3 * IMAGES_AT_ONCE + 100)
    logits = logits_of(knows_grey, data, "test")
    np.testing.assert_array_equal(logits.argmax(axis=1), data.labels[data.indices("test")])


def test_accuracy_names_its_images_and_their_source():
    data = dataset()
    logits = logits_of(knows_grey, data, "test")
    logits[:7] = np.roll(logits[:7], 1, axis=1)
    score = accuracy(logits, data, "test")
    assert (score.value, score.images, score.split, score.data) == (0.93, 100, "test", "flat greys")
    assert score.low < 0.93 < score.high


def test_recalls_are_per_class_and_leave_out_classes_without_images():
    data = dataset(images=12)  # the test split holds classes 2, 5, 0 and 3
    logits = logits_of(knows_grey, data, "test")
    found = {score.name: score.value for score in recalls(logits, data, "test")}
    assert found == {f"recall of {LABELS[index]}": pytest.approx(1) for index in (0, 2, 3, 5)}
