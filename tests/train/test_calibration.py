"""The temperature is the likeliest, and the threshold keeps what the validation images look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.blood_cells import LABELS
from contract.dataset import Dataset, DatasetFacts
from contract.errors import DataUnavailable
from contract.preprocessing import scale_pixels
from train.calibration import (
    KEPT_SHARE,
    calibrate,
    calibration_scores,
    distances_of,
    fit_distribution,
    fit_temperature,
)
from train.sources.synthetic import render_cells

CELLS = 240


def dataset(images, labels, splits):
    facts = DatasetFacts(
        source="synthetic",
        description="rendered",
        resolution_px=images.shape[1],
        real=False,
        images=len(images),
        images_sha256="",
        labels_sha256="",
        splits_sha256="",
    )
    return Dataset(facts, images, labels, splits)


@pytest.fixture(scope="module")
def rendered():
    images, labels = render_cells(CELLS, 28, seed=11)
    return dataset(images, labels, np.tile(np.repeat(np.arange(3, dtype=np.uint8), 8), CELLS // 24))


def drawn_logits(true_temperature, images=4_000, seed=0):
    """Logits whose labels were drawn from softmax(logits / true_temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (images, len(LABELS)))
    noise = rng.gumbel(size=logits.shape)
    return logits.astype(np.float32), (logits / true_temperature + noise).argmax(axis=1).astype(np.uint8)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_the_labels_were_drawn_with_is_found(true_temperature):
    logits, labels = drawn_logits(true_temperature)
    assert fit_temperature(logits, labels) == pytest.approx(true_temperature, rel=0.1)


@given(st.floats(0.2, 5), st.integers(0, 1_000))
def test_no_other_temperature_makes_the_labels_likelier(factor, seed):
    logits, labels = drawn_logits(1.5, images=100, seed=seed)
    fitted = fit_temperature(logits, labels)

    def loss(temperature):
        scaled = logits.astype(np.float64) / temperature
        return np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels])

    assert loss(fitted) <= loss(fitted * factor) + 1e-9


def test_labels_that_are_always_first_have_the_lowest_temperature_there_is():
    logits, _ = drawn_logits(1.0, images=50)
    assert fit_temperature(logits, logits.argmax(axis=1).astype(np.uint8)) == pytest.approx(0.05, rel=0.3)


def test_the_threshold_keeps_the_share_of_validation_images_that_it_was_asked_to(rendered):
    positions = rendered.indices("validation")
    calibration, distribution = calibrate(rendered, np.eye(8, dtype=np.float32)[rendered.labels[positions]])
    distances = [distances_of(distribution, rendered, positions, through_jpeg=jpeg) for jpeg in (False, True)]
    assert np.mean(np.concatenate(distances) <= calibration.distance_threshold) == pytest.approx(KEPT_SHARE, abs=0.01)
    assert calibration.images == len(positions)


def test_the_threshold_does_not_move_with_the_test_images(rendered):
    other = rendered.images.copy()
    other[rendered.indices("test")] = 0
    logits = np.eye(8, dtype=np.float32)[rendered.labels[rendered.indices("validation")]]
    changed = dataset(other, rendered.labels, rendered.splits)
    assert calibrate(changed, logits)[0] == calibrate(rendered, logits)[0]


@pytest.mark.parametrize("seed", range(3))
def test_noise_solid_colours_and_inverted_cells_are_further_than_any_cell(rendered, seed):
    distribution = fit_distribution(rendered)
    farthest = distances_of(distribution, rendered, np.arange(CELLS)).max()
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)
    solid = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (28, 28, 3))
    for image in (noise, solid, 255 - rendered.images[seed]):
        assert distribution.distance(scale_pixels(image[np.newaxis])) > farthest


def test_a_set_of_grey_images_has_a_distribution():
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), dtype=np.uint8), 3, axis=3)
    fitted = fit_distribution(dataset(grey, np.zeros(60, np.uint8), np.zeros(60, np.uint8)))
    assert np.isfinite(distances_of(fitted, dataset(grey, None, None), np.arange(60))).all()


def test_the_scores_say_what_the_temperature_changed_and_what_the_threshold_rejects(rendered):
    logits, labels = drawn_logits(0.4, images=CELLS)
    drawn = dataset(rendered.images, labels, rendered.splits)
    calibration, distribution = calibrate(drawn, logits[drawn.indices("validation")])
    before, after, rejected = calibration_scores(
        calibration, distribution, logits[drawn.indices("test")], drawn, "test"
    )
    assert after.value < before.value
    for score in (before, after, rejected):
        assert score.low <= score.value <= score.high
        assert (score.images, score.split) == (len(drawn.indices("test")), "test")


def test_without_a_validation_image_nothing_is_fitted():
    images = np.zeros((2, 28, 28, 3), np.uint8)
    nothing = dataset(images, np.zeros(2, np.uint8), np.zeros(2, np.uint8))
    with pytest.raises(DataUnavailable, match="no validation image"):
        calibrate(nothing, np.zeros((0, 8), np.float32))
