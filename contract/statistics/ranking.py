"""How well a number tells groups apart: areas under ROC curves, with DeLong's intervals.

An area is the chance that a positive has a larger value than a negative, ties counted half:
Mann and Whitney's U over both counts (Hanley and McNeil, Radiology 143 (1982) 29). Its
variance is DeLong, DeLong and Clarke-Pearson's (Biometrics 44 (1988) 837): that of the
share of the other group that each image is on the right side of. Assumes independent images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.statistics.intervals import Z_95, wilson

Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Area:
    """An area under the curve, or a mean of several, with its 95 % interval and the images it rests on."""

    value: float
    low: float
    high: float
    images: int


def area_under_curve(values: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """The area alone; raises ``ValueError`` where one group is empty."""
    return float(concordance(values, positive)[positive].mean())


def concordance(values: NDArray[Any], positive: NDArray[np.bool_]) -> Shares:
    """For each image the share of the other group that it is on the right side of; a tie is half.

    Its mean over the positives is the area, and so is its mean over the negatives. Raises
    ``ValueError`` where one group is empty.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ValueError(f"{positives} positives and {negatives} negatives have no area under a curve")
    below, shares = _middle_ranks(values), np.empty(len(values))
    shares[positive] = (below[positive] - _middle_ranks(values[positive])) / negatives
    shares[~positive] = 1 - (below[~positive] - _middle_ranks(values[~positive])) / positives
    return shares


def mean_area_of_classes(chances: NDArray[Any], labels: NDArray[Any]) -> Area:
    """The mean over classes of the area of one class against the rest; ``chances`` is (n, classes).

    The classes' areas share their images. What an image adds to the mean is summed over all
    of them before its variance is taken within each class: DeLong's covariances, in one sum.
    Raises ``ValueError`` where a class has no image.
    """
    images, classes = chances.shape
    added, areas = np.zeros(images), []
    for index in range(classes):
        positive = labels == index
        shares = concordance(chances[:, index], positive)
        added += shares / np.where(positive, positive.sum(), images - positive.sum()) / classes
        areas.append(shares[positive].mean())
    counts = np.bincount(labels, minlength=classes)
    variance = sum(n * _variance(added[labels == index], 0.25 / classes**2) for index, n in enumerate(counts))
    return _with_interval(float(np.mean(areas)), variance, int(counts.min()), images)


def mean_area_of_strata(strata: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]) -> Area:
    """The mean of the areas of ``strata``, each (values, positive) of images of its own."""
    areas, variance, fewest = [], 0.0, 0
    for values, positive in strata:
        shares = concordance(values, positive)
        groups = shares[positive], shares[~positive]
        areas.append(float(groups[0].mean()))
        variance += sum(_variance(group, 0.25) / len(group) for group in groups)
        fewest += min(map(len, groups))
    images = sum(len(values) for values, _ in strata)
    return _with_interval(float(np.mean(areas)), variance / len(areas) ** 2, fewest, images)


def _with_interval(area: float, variance: float, fewest: int, images: int) -> Area:
    """DeLong's interval on the scale of the logarithm of odds, where it cannot leave 0 and 1 (Qin and Hotilovac,
    Stat. Methods Med. Res. 17 (2008) 207).

    Groups that do not overlap have no variance. Wilson's interval of ``fewest`` disjoint
    pairs, all of them in order, stands for it: wide, because it uses few of the images.
    """
    if area in (0, 1):
        return Area(area, *wilson(round(area) * fewest, fewest), images)
    odds, spread = log(area / (1 - area)), Z_95 * sqrt(variance) / (area * (1 - area))
    return Area(area, _share_of(odds - spread), _share_of(odds + spread), images)


def _share_of(logarithm_of_odds: float) -> float:
    """Never beyond what a float can tell: at 700 the share is 1 to the last digit."""
    return 1 / (1 + exp(-max(-700.0, min(700.0, logarithm_of_odds))))


def _variance(shares: Shares, worst: float) -> float:
    """Unbiased; the ``worst`` there can be where one image alone shows none."""
    return float(shares.var(ddof=1)) if len(shares) > 1 else worst


def _middle_ranks(values: NDArray[Any]) -> Shares:
    """From 1 on; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Shares = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
