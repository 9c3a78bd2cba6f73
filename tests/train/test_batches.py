from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.batches import BatchStream, smoothed_targets
from train.settings import TrainSettings

SETTINGS = TrainSettings(batch_images=8, jpeg_share=0.0, largest_shift=0.0, label_smoothing=0.1)


def stream(images: int = 30, settings: TrainSettings = SETTINGS, larger: bool = False) -> BatchStream:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (images, 12, 12, 3), dtype=np.uint8)
    twice = pixels.repeat(2, axis=1).repeat(2, axis=2) if larger else None
    return BatchStream(pixels, (np.arange(images) % 8).astype(np.uint8), 8, settings, twice)


def test_an_epoch_is_the_same_whenever_it_is_asked_for():
    first, again = list(stream().epoch(4)), list(stream().epoch(4))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.targets, other.targets)


def test_epochs_and_seeds_give_other_batches():
    reference = next(iter(stream().epoch(0)))
    assert not np.array_equal(reference.images, next(iter(stream().epoch(1))).images)
    other_seed = stream(settings=replace(SETTINGS, seed=1))
    assert not np.array_equal(reference.images, next(iter(other_seed.epoch(0))).images)


def test_all_batches_have_full_length_and_no_image_comes_twice_in_an_epoch():
    batches = list(stream(images=30).epoch(0))
    assert [len(batch.images) for batch in batches] == [8, 8, 8]
    # Flips and turns keep the multiset of pixels, which random images share with no other image.
    seen = {tuple(np.sort(image.ravel())) for batch in batches for image in batch.images}
    assert len(seen) == 24


def test_images_are_scaled_and_targets_are_distributions():
    batch = next(iter(stream().epoch(0)))
    assert batch.images.dtype == batch.targets.dtype == np.float32
    assert -1 <= batch.images.min() < -0.9
    assert 0.9 < batch.images.max() <= 1
    np.testing.assert_allclose(batch.targets.sum(axis=1), 1, rtol=1e-6)


def test_mixup_blends_images_and_targets_by_the_same_share():
    mixed = next(iter(stream(settings=replace(SETTINGS, mixed_share=0.4)).epoch(0)))
    np.testing.assert_allclose(mixed.targets.sum(axis=1), 1, rtol=1e-6)
    assert (mixed.targets.max(axis=1) < 0.9).any()
    assert np.abs(mixed.images).max() <= 1


@given(label=st.integers(0, 7), smoothing=st.floats(0, 0.9))
def test_smoothing_keeps_the_mass_and_the_label_on_top(label, smoothing):
    (row,) = smoothed_targets(np.array([label], np.uint8), 8, smoothing)
    assert row.sum() == pytest.approx(1, rel=1e-5)
    assert row.argmax() == label


@pytest.mark.parametrize("turned_share", [0.0, 1.0])
def test_the_larger_images_show_the_same_views(turned_share):
    batch = next(
        iter(stream(settings=replace(SETTINGS, turned_share=turned_share, mixed_share=0.4), larger=True).epoch(0))
    )
    assert batch.larger is not None
    assert batch.larger.shape == (8, 24, 24, 3)
    means = batch.larger.reshape(8, 12, 2, 12, 2, 3).mean(axis=(2, 4))
    distances = np.abs(batch.images[:, np.newaxis] - means[np.newaxis]).mean(axis=(2, 3, 4))
    # Each image is nearest to its own larger self, among all of the batch.
    np.testing.assert_array_equal(distances.argmin(axis=1), np.arange(8))


def test_without_larger_images_there_is_nothing_for_a_teacher():
    assert next(iter(stream().epoch(0))).larger is None


def test_only_a_share_of_the_images_goes_through_jpeg():
    clean, damaged = (next(iter(stream(settings=replace(SETTINGS, jpeg_share=share)).epoch(0))) for share in (0.0, 1.0))
    assert (clean.images != damaged.images).any(axis=(1, 2, 3)).all()
