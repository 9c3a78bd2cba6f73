"""Planted copies and planted shortcuts are found, and nothing where nothing was planted."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from contract.dataset import Dataset, DatasetFacts
from contract.progress import silent
from contract.records.training import Predictions
from train.audit.acquisition import Taken, audit_acquisition, how_taken
from train.audit.duplicates import TURNS, find_duplicates, turned
from train.sources.pbc import read_index
from train.sources.synthetic import render_cells

IMAGES = 120


def cells(change=None) -> Dataset:
    """Rendered cells: 80 to train on, 20 to validate, 20 to test; ``change`` may write into the pixels."""
    images, labels = render_cells(IMAGES, 28, seed=6)
    images = images.copy()
    if change:
        change(images)
    facts = DatasetFacts(
        source="synthetic",
        description="rendered",
        resolution_px=28,
        real=False,
        images=IMAGES,
        images_sha256="0" * 64,
        labels_sha256="0" * 64,
        splits_sha256="0" * 64,
    )
    return Dataset(facts, images, labels, np.repeat([0, 1, 2], [80, 20, 20]).astype(np.uint8))


def through_jpeg(image):
    stored = BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=90, subsampling=0)
    return np.asarray(Image.open(stored))


def test_where_nothing_was_planted_no_copy_is_found():
    found = find_duplicates(cells(), silent)
    assert found.pairs_compared == 80 * 20 + 80 * 20 + 20 * 20
    assert found.copies == ()
    assert found.exact == 0


@pytest.mark.parametrize("turn", TURNS)
def test_a_copy_is_found_however_it_was_turned(turn):
    def plant(images):
        images[110] = turned(images[3:4], turn)[0]

    (pair,) = find_duplicates(cells(plant), silent).copies
    assert (pair.positions, pair.splits, pair.rms) == ((3, 110), ("train", "test"), 0)


def test_a_copy_that_was_stored_again_is_near_and_not_exact():
    def plant(images):
        images[85] = through_jpeg(images[7])

    found = find_duplicates(cells(plant), silent)
    assert [pair.positions for pair in found.copies] == [(7, 85)]
    assert found.exact == 0


def test_copies_inside_a_split_are_no_leak():
    def plant(images):
        images[4] = images[3]

    assert find_duplicates(cells(plant), silent).copies == ()


def test_a_group_that_can_be_seen_is_seen_and_one_that_cannot_is_not():
    member = np.random.default_rng(0).random(IMAGES) < 0.5

    def brighter(images):
        images[member] = np.clip(images[member].astype(int) + 30, 0, 255)

    taken = ["one way" if flag else "the usual way" for flag in member]
    if member.sum() > IMAGES / 2:  # the commonest way is the reference
        member = ~member
    seen, unseen = (
        audit_acquisition(cells(change), Taken(taken, []), [])[0].seen_by_probe for change in (brighter, None)
    )
    assert seen is not None
    assert unseen is not None
    assert seen.value > 0.9
    assert unseen.value < 0.8
    assert unseen.low < 0.5 < unseen.high
    assert seen.low > 0.5


def test_accuracies_are_those_of_the_recorded_answers():
    dataset = cells()
    test = dataset.indices("test")
    taken = np.array(["usual"] * IMAGES)
    taken[test[:5]] = "rare"
    logits = np.eye(8, dtype=np.float32)[dataset.labels[test]]
    logits[0] = np.roll(logits[0], 1)  # one mistake, inside the group
    how = Taken(taken.tolist(), ["rare", "usual", "usual"])
    (group,) = audit_acquisition(dataset, how, [Predictions(test, dataset.labels[test], logits)])
    assert group.accuracy is not None
    assert (group.accuracy.right, group.accuracy.images, group.test_images) == (4, 5, 5)
    assert group.accuracy_of_rest == 1
    assert group.left_out == 1


def test_how_a_file_was_taken_is_read_from_its_header(pbc_root):
    images, _ = read_index(pbc_root / "pbc")
    found = how_taken(pbc_root / "pbc")
    assert found.used == ["subsampled colour, crop 200x208"] * len(images)
    assert len(found.left_out) == 2  # the pair whose labels contradict each other
