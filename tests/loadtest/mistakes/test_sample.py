"""Photographs and what preprocessing makes of them."""

from __future__ import annotations

import numpy as np

from contract.preprocessing import scale_pixels
from loadtest.mistakes.sample import divided_twice, preprocess, sample_of

PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_both_layouts_hold_the_same_image_each_in_memory_of_its_own_order():
    sample = sample_of(PHOTOGRAPH, 28)
    np.testing.assert_array_equal(sample.nhwc.transpose(0, 3, 1, 2), sample.nchw)
    assert sample.nhwc.flags.c_contiguous
    assert sample.nchw.flags.c_contiguous


def test_a_photograph_of_the_right_size_is_only_scaled():
    np.testing.assert_array_equal(preprocess(PHOTOGRAPH, 64)[0], scale_pixels(PHOTOGRAPH))


def test_pixels_that_are_divided_twice_leave_an_image_that_is_all_but_black():
    images = divided_twice(PHOTOGRAPH, 28)
    assert images.dtype == np.float32
    assert np.ptp(images) < 0.01
    assert np.allclose(images, -1, atol=0.01)
