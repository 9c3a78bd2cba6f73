from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract.dataset import Dataset, load_dataset
from contract.errors import DataUnavailable
from loadtest.generator.payloads import choose_positions, encode_payloads, encode_png


@given(st.integers(1, 40), st.integers(0, 255))
def test_a_payload_holds_every_pixel(side: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    with Image.open(BytesIO(encode_png(pixels))) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), pixels)


def test_only_test_images_are_sent_each_once_with_its_class(noise_folder: Path) -> None:
    dataset = load_dataset(noise_folder)
    payloads = encode_payloads(dataset, choose_positions(dataset, 1_000, seed=0))
    assert sorted(payload.image for payload in payloads) == dataset.indices("test").tolist()
    assert all(payload.expected == dataset.labels[payload.image] for payload in payloads)


def test_the_seed_fixes_the_images_and_their_order(noise_folder: Path) -> None:
    dataset = load_dataset(noise_folder)
    assert choose_positions(dataset, 10, seed=4) == choose_positions(dataset, 10, seed=4)
    assert choose_positions(dataset, 10, seed=4) != choose_positions(dataset, 10, seed=5)
    assert choose_positions(dataset, 10, seed=4) == choose_positions(dataset, 20, seed=4)[:10]


def test_a_data_set_without_test_images_is_refused(noise_folder: Path) -> None:
    dataset = load_dataset(noise_folder)
    untested = Dataset(dataset.facts, dataset.images, dataset.labels, np.zeros_like(dataset.splits))
    with pytest.raises(DataUnavailable, match="no test images"):
        choose_positions(untested, 10, seed=0)
