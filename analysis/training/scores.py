"""What logits and labels say of a network: shares with intervals, ranking, calibration, and paired comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Absent, Estimate, Figure, FloatColumn, proportion
from contract.arrays import FloatArray, LabelArray
from contract.statistics.ranking import mean_area_of_classes
from contract.statistics.reliability import calibration_error_interval, expected_calibration_error

# Student's t that leaves 2.5 % on each side, by degrees of freedom; beyond the table its last
# value is used, which makes an interval a little wider than it need be.
_STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def probabilities(logits: FloatArray, temperature: float = 1.0) -> FloatColumn:
    """``softmax(logits / temperature)``, (n, classes) in float64."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def accuracy(logits: FloatArray, labels: LabelArray) -> Figure:
    """The share of images whose largest logit is their class, with Wilson's interval."""
    return proportion(int((logits.argmax(axis=1) == labels).sum()), len(labels))


def confusion(logits: FloatArray, labels: LabelArray) -> NDArray[np.int64]:
    """Counts (true class, answered class)."""
    classes = logits.shape[1]
    pairs = labels.astype(np.int64) * classes + logits.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def recalls(confused: NDArray[np.int64]) -> tuple[Figure, ...]:
    """For each class the share of its images that were recognised, with Wilson's interval."""
    return tuple(proportion(int(row[index]), int(row.sum())) for index, row in enumerate(confused))


def mean_auc(logits: FloatArray, labels: LabelArray) -> Figure:
    """The mean over classes of the area under the curve of one class against the rest.

    On the softmax, as MedMNIST's own Evaluator takes it, with DeLong's interval over
    images; `Absent` where a class has no image.
    """
    missing = sorted(set(range(logits.shape[1])) - set(labels.tolist()))
    if missing:
        return Absent(f"class {missing[0]} has no image", len(labels))
    area = mean_area_of_classes(probabilities(logits), labels)
    return Estimate(area.value, area.low, area.high, area.images, "images")


def calibration_error(logits: FloatArray, labels: LabelArray, temperature: float = 1.0) -> Figure:
    """The expected calibration error of ``softmax(logits / temperature)``, with a bootstrap interval over images."""
    chances = probabilities(logits, temperature)
    confidences, correct = chances.max(axis=1), chances.argmax(axis=1) == labels
    low, high = calibration_error_interval(confidences, correct)
    return Estimate(expected_calibration_error(confidences, correct), low, high, len(labels), "images")


def mean_over_seeds(values: Sequence[float], *, share: bool = False) -> Figure:
    """The mean of one number per seed, with Student's interval: how far another seed would move it.

    It says nothing of other images; Wilson's interval of each run does. Takes seeds as
    normal and independent. With ``share`` the interval ends at 0 and 1.
    """
    n = len(values)
    if n < 2:
        return Absent(f"{n} seed gives no interval" if n else "no seed", n)
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    spread = _STUDENT_T[min(n - 1, len(_STUDENT_T)) - 1] * deviation / math.sqrt(n)
    low, high = mean - spread, mean + spread
    return Estimate(mean, max(0.0, low), min(1.0, high) if share else high, n, "seeds")


def exact_mcnemar(only_first: int, only_second: int) -> float:
    """The chance of so uneven a split, or a more uneven one, if both were equally often right where they differ.

    ``only_first`` counts the images that the first alone got right. Two-sided and exact:
    binomial with one half, doubled, at most 1 (McNemar, Psychometrika 12 (1947) 153).
    """
    differing, smaller = only_first + only_second, min(only_first, only_second)
    ways = sum(math.comb(differing, k) for k in range(smaller + 1))
    return min(1.0, float(2 * ways / 2**differing)) if differing else 1.0
