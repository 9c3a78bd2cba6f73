"""Whether confidence means what it says: the expected calibration error, one definition for training and reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 15
DRAWS = 1_000


def expected_calibration_error(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """The mean gap between confidence and accuracy over 15 bins of equal width, weighted by their images.

    Source: Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, section
    2, who use 15 bins as well; a bin holds its upper edge.
    """
    bins = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidences, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidences))


def calibration_error_interval(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[float, float]:
    """A 95 % percentile bootstrap over images, always with the same draws, widened to hold the value.

    Assumes independent images. A resample's own noise adds to its error, so that the plain
    interval of a small error may lie above it; the upper end is on the safe side for it.
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    """
    value, rng = expected_calibration_error(confidences, correct), np.random.default_rng(0)
    draws = (rng.integers(len(correct), size=len(correct)) for _ in range(DRAWS))
    resampled = [expected_calibration_error(confidences[draw], correct[draw]) for draw in draws]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return min(value, float(low)), max(value, float(high))
