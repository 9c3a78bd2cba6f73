from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.batches import BatchStream, augmented, jpeg_round_trip, smoothed_targets
from train.settings import TrainSettings

SETTINGS = TrainSettings(batch_images=8, jpeg_share=0.0, largest_shift=0.0, label_smoothing=0.1)


def stream(images: int = 30, settings: TrainSettings = SETTINGS) -> BatchStream:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (images, 12, 12, 3), dtype=np.uint8)
    return BatchStream(pixels, (np.arange(images) % 8).astype(np.uint8), 8, settings)


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


@given(seed=st.integers(0, 2**32))
def test_augmentation_without_shift_keeps_every_pixel(seed):
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    turned = augmented(image, 0.0, np.random.default_rng(seed))
    assert turned.shape == image.shape
    np.testing.assert_array_equal(np.sort(turned.reshape(-1, 3), axis=0), np.sort(image.reshape(-1, 3), axis=0))


def test_augmentation_reaches_all_eight_orientations():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    rng = np.random.default_rng(1)
    assert len({augmented(image, 0.0, rng).tobytes() for _ in range(200)}) == 8


def test_a_shift_moves_the_content_and_repeats_the_edge():
    image = np.zeros((20, 20, 3), np.uint8)
    image[10, 10] = 255
    rng = np.random.default_rng(2)
    places = {tuple(np.argwhere(augmented(image, 0.1, rng)[..., 0])[0]) for _ in range(300)}
    assert len(places) > 20
    assert all(7 <= row <= 12 and 7 <= column <= 12 for row, column in places)


def test_the_jpeg_round_trip_changes_pixels_a_little():
    ramp = np.linspace(0, 255, 28 * 28 * 3).reshape(28, 28, 3).astype(np.uint8)
    changed = np.abs(jpeg_round_trip(ramp).astype(int) - ramp)
    assert changed.shape == ramp.shape
    assert 0 < changed.mean() < 12
