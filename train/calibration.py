"""What is fitted after the weights, on the validation split alone: the temperature, and how unlike an image may be."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from contract.arrays import FloatArray, ImageArray, LabelArray
from contract.calibration import Calibration, Distribution, statistics_of
from contract.dataset import Dataset, Split
from contract.errors import DataUnavailable
from contract.manifest import Metric
from contract.preprocessing import scale_pixels
from contract.statistics.reliability import calibration_error_interval, expected_calibration_error
from train.augmentation import jpeg_round_trip
from train.evaluate import accuracy, recalls, share

FITTED_IMAGES = 4_000  # of the train split, evenly spread; a Gaussian of some 80 statistics asks for no more
KEPT_SHARE = 0.98  # of the validation images, plain and through a JPEG round trip, that lie within the threshold
SHRINKAGE = 1e-3  # towards independent statistics, so that the covariance can be inverted whatever the images
IMAGES_AT_ONCE = 256
_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.05, 20.0
_GOLDEN_STEPS = 40  # narrows the interval by 0.618 each: to 3e-8 of its width

_Float64Array = NDArray[np.float64]


def calibrate(dataset: Dataset, validation_logits: FloatArray) -> tuple[Calibration, Distribution]:
    """The temperature, and the distribution of the training images with its threshold.

    Raises `DataUnavailable` where the data set has no validation image.
    """
    positions = dataset.indices("validation")
    if not len(positions):
        raise DataUnavailable(f"{dataset.facts.source} has no validation image to calibrate on. Next: hemabench data")
    distribution = fit_distribution(dataset)
    distances = np.concatenate(
        [distances_of(distribution, dataset, positions, through_jpeg=jpeg) for jpeg in (False, True)]
    )
    calibration = Calibration(
        temperature=fit_temperature(validation_logits, dataset.labels[positions]),
        distance_threshold=float(np.quantile(distances, KEPT_SHARE)),
        images=len(positions),
        distribution_sha256=distribution.sha256,
    )
    return calibration, distribution


def fit_temperature(logits: FloatArray, labels: LabelArray) -> float:
    """The divisor of ``logits`` (n, classes) under which ``labels`` (n,) are likeliest.

    One scalar, because it cannot change which class is first (Guo et al., arXiv
    1706.04599). Golden-section search over its logarithm, in which the loss has one valley.
    """
    exact = logits.astype(np.float64)
    best = _golden_section(
        lambda logarithm: _mean_loss(exact / exp(logarithm), labels),
        log(_LOWEST_TEMPERATURE),
        log(_HIGHEST_TEMPERATURE),
    )
    return exp(best)


def fit_distribution(dataset: Dataset) -> Distribution:
    """The Gaussian of the training images' statistics; half of them went through a JPEG round trip.

    Without that half whoever sends a JPEG would be told that his cell is none.
    """
    positions = dataset.indices("train")
    chosen = positions[np.unique(np.linspace(0, len(positions) - 1, FITTED_IMAGES).round().astype(int))]
    halves = [_statistics(dataset.images, chosen, through_jpeg=jpeg) for jpeg in (False, True)]
    statistics = np.concatenate(halves).astype(np.float64)
    mean = statistics.mean(axis=0)
    deviation = statistics.std(axis=0) + 1e-6  # which may be 0: grey images have equal channels
    standard = (statistics - mean) / deviation
    correlation = (1 - SHRINKAGE) * (standard.T @ standard) / len(standard) + SHRINKAGE * np.eye(len(mean))
    whitening = np.linalg.cholesky(np.linalg.inv(correlation)) / deviation[:, np.newaxis]
    return Distribution(mean.astype(np.float32), whitening.astype(np.float32))


def distances_of(
    distribution: Distribution, dataset: Dataset, positions: NDArray[np.intp], *, through_jpeg: bool = False
) -> FloatArray:
    """The distance of each image at ``positions`` from the training images."""
    return distribution.distances_of_statistics(_statistics(dataset.images, positions, through_jpeg=through_jpeg))


def final_scores(
    calibration: Calibration, distribution: Distribution, validation: FloatArray, test: FloatArray, dataset: Dataset
) -> tuple[Metric, ...]:
    """Everything that is said of trained weights, from their logits for the two splits."""
    return (
        accuracy(validation, dataset, "validation"),
        accuracy(test, dataset, "test"),
        *recalls(test, dataset, "test"),
        *calibration_scores(calibration, distribution, test, dataset, "test"),
    )


def calibration_scores(
    calibration: Calibration, distribution: Distribution, logits: FloatArray, dataset: Dataset, split: Split
) -> tuple[Metric, ...]:
    """The calibration error of ``split`` before and after the temperature, and the share that the threshold rejects."""
    labels = dataset.labels[dataset.indices(split)]
    distances = distances_of(distribution, dataset, dataset.indices(split))
    rejected = int((distances > calibration.distance_threshold).sum())
    return (
        _calibration_error("calibration error before the temperature", logits, labels, dataset, split),
        _calibration_error("calibration error", logits / calibration.temperature, labels, dataset, split),
        share("rejected as out of distribution", rejected, len(distances), dataset, split),
    )


def _calibration_error(name: str, logits: FloatArray, labels: LabelArray, dataset: Dataset, split: Split) -> Metric:
    probabilities = np.exp(_log_probabilities(logits.astype(np.float64)))
    confidences, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    low, high = calibration_error_interval(confidences, correct)
    return Metric(
        name=name,
        value=expected_calibration_error(confidences, correct),
        low=low,
        high=high,
        images=len(labels),
        data=dataset.facts.description,
        split=split,
    )


def _statistics(images: ImageArray, positions: NDArray[np.intp], *, through_jpeg: bool) -> FloatArray:
    chunks = [positions[start : start + IMAGES_AT_ONCE] for start in range(0, len(positions), IMAGES_AT_ONCE)]
    return np.concatenate([statistics_of(scale_pixels(_pixels(images[chunk], through_jpeg))) for chunk in chunks])


def _pixels(images: ImageArray, through_jpeg: bool) -> ImageArray:
    return np.stack([jpeg_round_trip(image) for image in images]) if through_jpeg else images


def _log_probabilities(logits: _Float64Array) -> _Float64Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithms: _Float64Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logarithms


def _mean_loss(logits: _Float64Array, labels: LabelArray) -> float:
    return float(-_log_probabilities(logits)[np.arange(len(labels)), labels].mean())


def _golden_section(function: Callable[[float], float], low: float, high: float) -> float:
    ratio = (sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_GOLDEN_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2
