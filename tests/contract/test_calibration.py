"""How unlike the training images an image is: a distance of pixels, the same however many are asked about."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from contract.calibration import STATISTICS, Calibration, Distribution, statistics_of
from contract.errors import ManifestInvalid
from contract.preprocessing import scale_pixels

CALIBRATION = Calibration(temperature=0.6, distance_threshold=14.0, images=100)


def images(n, side, seed=0):
    return scale_pixels(np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8))


def distribution(seed=0):
    rng = np.random.default_rng(seed)
    whitening = rng.normal(size=(STATISTICS, STATISTICS))
    return Distribution(rng.normal(size=STATISTICS).astype(np.float32), whitening.astype(np.float32))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=1, min_side=1, max_side=3).map(lambda n: (*n, 28, 28, 3))))
def test_statistics_are_finite_whatever_the_pixels(pixels):
    statistics = statistics_of(scale_pixels(pixels))
    assert statistics.shape == (len(pixels), STATISTICS)
    assert np.isfinite(statistics).all()


@pytest.mark.parametrize("side", [28, 30, 64, 128, 224])
def test_an_image_has_the_same_statistics_alone_and_among_others(side):
    batch = images(3, side)
    alone = np.concatenate([statistics_of(batch[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(alone, statistics_of(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [28, 64])
def test_the_first_statistics_are_the_mean_colours_of_sixteen_blocks(side):
    image = images(1, side)
    seen = image[0, :: side // 28, :: side // 28]
    block = len(seen) // 4
    means = seen.reshape(4, block, 4, block, 3).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(statistics_of(image)[0, : means.size], means, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_the_distance_of_one_image_is_that_of_its_row_of_statistics(seed):
    image, fitted = images(1, 28, seed), distribution()
    assert fitted.distance(image) == pytest.approx(fitted.distances_of_statistics(statistics_of(image))[0], rel=1e-4)


def test_threads_that_ask_at_once_get_the_distances_of_their_own_images():
    fitted = distribution()
    asked = [images(1, side, seed) for seed, side in enumerate((28, 28, 64, 64))]
    alone = [fitted.distance(image) for image in asked]
    begin = threading.Barrier(len(asked))

    def ask(image):
        begin.wait()
        return {fitted.distance(image) for _ in range(300)}

    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(ask, asked)) == [{distance} for distance in alone]


def test_the_image_that_is_the_mean_has_no_distance():
    image = images(1, 28)
    fitted = replace(distribution(), mean=statistics_of(image)[0])
    assert fitted.distance(image) == 0


def test_what_was_saved_is_loaded(tmp_path):
    distribution().save(tmp_path / "d.safetensors")
    loaded = Distribution.load(tmp_path / "d.safetensors")
    np.testing.assert_array_equal(loaded.mean, distribution().mean)
    np.testing.assert_array_equal(loaded.whitening, distribution().whitening)


@pytest.mark.parametrize(
    "broken",
    [
        Distribution(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)),
        Distribution(np.full(STATISTICS, np.nan, np.float32), np.eye(STATISTICS, dtype=np.float32)),
        Distribution(np.zeros(STATISTICS), np.eye(STATISTICS)),
    ],
    ids=["another length", "not a number", "float64"],
)
def test_arrays_that_are_no_distribution_are_refused(tmp_path, broken):
    broken.save(tmp_path / "d.safetensors")
    with pytest.raises(ManifestInvalid, match="Next: hemabench calibrate"):
        Distribution.load(tmp_path / "d.safetensors")


def test_a_file_that_is_missing_or_no_safetensors_is_refused(tmp_path):
    (tmp_path / "junk").write_bytes(b"junk")
    for name in ("junk", "missing"):
        with pytest.raises(ManifestInvalid, match=name):
            Distribution.load(tmp_path / name)


@pytest.mark.parametrize("name", ["temperature", "distance_threshold"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_calibration_that_cannot_be_used_is_refused(name, value):
    with pytest.raises(ManifestInvalid, match=name):
        replace(CALIBRATION, **{name: value})


def plain_statistics(image):
    """The definition of the statistics word by word, in float64, of one image whose every pixel is seen."""
    image = image.astype(np.float64)
    side = len(image)
    blocks = image.reshape(4, side // 4, 4, side // 4, 3)
    pixels = image.reshape(-1, 3)
    right, down = np.diff(pixels, axis=0), np.diff(image, axis=0).reshape(-1, 3)
    across = np.stack([pixels[:, one] - pixels[:, other] for one, other in ((0, 1), (1, 2), (0, 2))], axis=1)
    squares = [np.square(differences).mean(axis=0) for differences in (pixels, across, right, down)]
    spread = np.concatenate([blocks.var(axis=(1, 3)).sum(axis=-1).ravel(), *squares])
    return np.concatenate([blocks.mean(axis=(1, 3)).ravel(), np.log(spread + 1e-4)])


@pytest.mark.parametrize(("darkest", "brightest"), [(0, 255), (200, 203), (255, 255)], ids=["noise", "faint", "flat"])
def test_the_statistics_are_what_their_definition_says(darkest, brightest):
    pixels = np.random.default_rng(0).integers(darkest, brightest + 1, (28, 28, 3), dtype=np.uint8)
    image = scale_pixels(pixels)
    np.testing.assert_allclose(statistics_of(image[np.newaxis])[0], plain_statistics(image), atol=2e-3)
