from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract.blood_cells import RESOLUTIONS_PX
from contract.preprocessing import PIL_BILINEAR, centred_square, resize_to_square, scale_pixels

sides = st.integers(1, 300)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_the_filter_is_pils_bilinear() -> None:
    assert Image.Resampling.BILINEAR == PIL_BILINEAR


@given(width=sides, height=sides)
def test_the_square_is_as_large_as_fits_and_centred(width: int, height: int) -> None:
    left, upper, right, lower = centred_square(width, height)
    assert right - left == lower - upper == min(width, height)
    assert 0 <= left <= right <= width
    assert 0 <= upper <= lower <= height
    assert 0 <= (width - right) - left <= 1
    assert 0 <= (height - lower) - upper <= 1


@given(width=sides, height=sides, side=st.sampled_from(RESOLUTIONS_PX))
def test_any_image_becomes_the_square_that_was_asked_for(width: int, height: int, side: int) -> None:
    resized = resize_to_square(picture(width, height), side)
    assert (resized.size, resized.mode) == ((side, side), "RGB")


@pytest.mark.parametrize("side", RESOLUTIONS_PX)
def test_an_image_of_the_right_size_is_not_touched(side: int) -> None:
    image = picture(side, side)
    assert resize_to_square(image, side) is image


@given(width=sides, height=sides, side=st.sampled_from((28, 64)))
def test_cutting_before_resizing_gives_the_same_pixels(width: int, height: int, side: int) -> None:
    image = picture(width, height)
    cut = image.crop(centred_square(width, height)).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize_to_square(image, side), cut)


def test_pixels_outside_the_square_do_not_matter() -> None:
    image = picture(120, 80)
    other = image.copy()
    for box in ((0, 0, 20, 80), (100, 0, 120, 80)):
        other.paste((255, 0, 255), box)
    np.testing.assert_array_equal(resize_to_square(image, 28), resize_to_square(other, 28))


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = Image.fromarray(np.tile(np.array([[[0] * 3, [255] * 3]], dtype=np.uint8), (112, 56, 1)))
    shrunk = np.asarray(resize_to_square(stripes, 28))
    assert shrunk.min() >= 110  # 127.5 inside; at the border the filter ends on one stripe
    assert shrunk.max() <= 145


def test_every_pixel_value_is_scaled_to_its_place_between_minus_one_and_one() -> None:
    values = np.arange(256, dtype=np.uint8)
    scaled = scale_pixels(values)
    assert scaled.dtype == np.float32
    assert (scaled[0], scaled[255]) == (-1, 1)
    np.testing.assert_allclose(scaled, values / 127.5 - 1, atol=1e-6)
    assert (np.diff(scaled) > 0).all()


@given(shape=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_scaling_keeps_the_shape_and_leaves_its_input_alone(shape: list[int]) -> None:
    pixels = np.full(shape, 7, dtype=np.uint8)
    assert scale_pixels(pixels).shape == tuple(shape)
    assert (pixels == 7).all()
