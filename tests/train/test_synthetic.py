"""Rendered cells are the same everywhere, at every resolution the same cell, and can be told apart."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest

from contract.blood_cells import LABELS, RESOLUTIONS_PX
from contract.dataset import SPLITS
from train.cells import RECIPES
from train.dataset import DataSettings, count_images, prepare_datasets
from train.sources.synthetic import render_cells


def test_every_class_has_a_recipe():
    assert tuple(RECIPES) == LABELS


@pytest.mark.parametrize("resolution_px", RESOLUTIONS_PX)
def test_classes_come_in_turn_and_pixels_are_bytes(resolution_px):
    images, labels = render_cells(16, resolution_px, seed=0)
    assert images.shape == (16, resolution_px, resolution_px, 3)
    assert images.dtype == labels.dtype == np.uint8
    assert labels.tolist() == [*range(8), *range(8)]
    assert images.std(axis=(1, 2, 3)).min() > 10


def test_another_process_renders_the_same_pixels():
    program = (
        "from hashlib import sha256; from train.sources.synthetic import render_cells;"
        "print(sha256(render_cells(8, 64, seed=5)[0].tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == sha256(render_cells(8, 64, seed=5)[0].tobytes()).hexdigest()


def test_the_first_cells_do_not_depend_on_how_many_follow():
    assert (render_cells(3, 28, seed=1)[0] == render_cells(9, 28, seed=1)[0][:3]).all()


def test_another_seed_renders_other_cells():
    assert (render_cells(8, 28, seed=1)[0] != render_cells(8, 28, seed=2)[0]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("resolution_px", [64, 128, 224])
def test_a_cell_is_the_same_at_every_resolution(resolution_px):
    small = render_cells(24, 28, seed=0)[0].astype(float)
    large = _shrunk_to_7(render_cells(24, resolution_px, seed=0)[0])
    distances = np.abs(_shrunk_to_7(small)[:, None] - large[None]).mean(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == np.arange(24)).all()
    assert distances.diagonal().max() < 5


def test_the_nearest_class_mean_is_right_far_more_often_than_chance():
    images, labels = render_cells(320, 28, seed=0)
    pixels = images.reshape(len(images), -1) / 255
    train, test = slice(0, 240), slice(240, None)
    means = np.stack([pixels[train][labels[train] == label].mean(axis=0) for label in range(8)])
    distances = ((pixels[test][:, None] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == labels[test]).mean() > 0.5  # chance is 0.125


def test_a_prepared_set_is_marked_as_not_real_and_has_all_classes_in_all_splits(tmp_path):
    settings = DataSettings(source="synthetic", cache=tmp_path, synthetic_images=160)
    datasets = prepare_datasets(settings, [28, 64])
    assert not datasets[28].facts.real
    assert "rendered" in datasets[28].facts.description
    assert count_images(datasets[28]) == {
        split: dict.fromkeys(LABELS, images) for split, images in zip(SPLITS, (14, 2, 4), strict=True)
    }
    assert (datasets[28].splits == datasets[64].splits).all()
    assert (datasets[64].images[:8] == render_cells(8, 64, seed=0)[0]).all()


def _shrunk_to_7(images: np.ndarray) -> np.ndarray:
    """Mean colours of 7x7 fields; the sides that occur are near enough to multiples of seven."""
    field = images.shape[1] // 7
    cut = images[:, : 7 * field, : 7 * field].astype(float)
    return cut.reshape(len(images), 7, field, 7, field, 3).mean(axis=(2, 4))
