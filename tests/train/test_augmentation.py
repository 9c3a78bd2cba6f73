from __future__ import annotations

from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.augmentation import LARGEST_ZOOM, Turn, View, jpeg_round_trip, reduced

NOISE = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)


def dot(side: int = 40, row: int = 20, column: int = 20) -> np.ndarray:
    image = np.zeros((side, side, 3), np.uint8)
    image[row - 1 : row + 2, column - 1 : column + 2] = 255
    return image


def centre_of(image: np.ndarray) -> tuple[float, float]:
    weights = image[..., 0].astype(float)
    rows, columns = np.indices(weights.shape)
    return float((rows * weights).sum() / weights.sum()), float((columns * weights).sum() / weights.sum())


@given(seed=st.integers(0, 2**32))
def test_a_view_without_shift_keeps_every_pixel(seed):
    seen = View.draw(0.0, np.random.default_rng(seed)).of(NOISE)
    np.testing.assert_array_equal(np.sort(seen.reshape(-1, 3), axis=0), np.sort(NOISE.reshape(-1, 3), axis=0))


def test_views_reach_all_eight_orientations():
    rng = np.random.default_rng(1)
    assert len({View.draw(0.0, rng).of(NOISE).tobytes() for _ in range(200)}) == 8


def test_a_shift_moves_the_content_and_repeats_the_edge():
    rng = np.random.default_rng(2)
    places = {centre_of(View.draw(0.1, rng).of(dot())) for _ in range(300)}
    assert len(places) > 20
    assert all(15 <= row <= 24 and 15 <= column <= 24 for row, column in places)


def test_a_view_is_the_same_at_every_resolution():
    view = View(quarter_turns=1, mirrored=True, down=0.1, right=-0.2)
    small, large = view.of(dot(40, 30, 12)), view.of(dot(80, 60, 24))
    assert centre_of(large) == pytest.approx([2 * place for place in centre_of(small)], abs=1.5)


def test_a_turn_by_nothing_changes_nothing():
    still = Turn(angle=0.0, zoom=1.0, mirrored=False, down=0.0, right=0.0)
    np.testing.assert_array_equal(still.of(NOISE), NOISE)


@pytest.mark.parametrize("angle", [pi / 2, pi, 1.0])
def test_a_turn_keeps_the_distance_from_the_centre(angle):
    turned = Turn(angle=angle, zoom=1.0, mirrored=False, down=0.0, right=0.0).of(dot(41, 20, 30))
    row, column = centre_of(turned)
    assert (row - 20) ** 2 + (column - 20) ** 2 == pytest.approx(100, abs=6)


def test_a_zoom_above_one_enlarges():
    larger = Turn(angle=0.0, zoom=2.0, mirrored=False, down=0.0, right=0.0).of(dot(41, 20, 20))
    assert (larger[..., 0] > 127).sum() > 2 * (dot(41)[..., 0] > 127).sum()


def test_a_turn_shifts_down_and_right():
    row, column = centre_of(Turn(angle=0.0, zoom=1.0, mirrored=False, down=0.1, right=0.2).of(dot(40, 20, 20)))
    assert (row, column) == pytest.approx((24, 28), abs=0.2)


@given(seed=st.integers(0, 2**32))
def test_a_turn_repeats_the_edge_instead_of_inventing_black(seed):
    bright = np.full((30, 30, 3), 200, np.uint8)
    drawn = Turn.draw(0.07, np.random.default_rng(seed))
    assert 1 / LARGEST_ZOOM <= drawn.zoom <= LARGEST_ZOOM
    np.testing.assert_array_equal(drawn.of(bright), bright)


def test_reducing_to_the_same_side_returns_the_image_itself():
    assert reduced(NOISE, 9) is NOISE
    assert reduced(NOISE, 3).shape == (3, 3, 3)


def test_the_jpeg_round_trip_changes_pixels_a_little():
    ramp = np.linspace(0, 255, 28 * 28 * 3).reshape(28, 28, 3).astype(np.uint8)
    changed = np.abs(jpeg_round_trip(ramp).astype(int) - ramp)
    assert changed.shape == ramp.shape
    assert 0 < changed.mean() < 12
