"""What int8 costs in accuracy, on the same validation images, and how much of it is borne."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from contract.arrays import FloatArray
from contract.dataset import Dataset, Split
from contract.errors import AccuracyLost
from contract.manifest import Metric
from train.evaluate import accuracy

# MLPerf Inference's rule for its closed division: 99 % of the accuracy in float32.
KEPT_SHARE = 0.99
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Accuracy of a network in float32 and in int8, and the difference as a share of all images."""

    float32: Metric
    int8: Metric
    lost: Metric


def compared(float32: FloatArray, int8: FloatArray, dataset: Dataset, split: Split = "validation") -> Comparison:
    """Both networks' logits for every image of ``split``, against its labels."""
    labels = dataset.labels[dataset.indices(split)]
    right_before, right_after = float32.argmax(axis=1) == labels, int8.argmax(axis=1) == labels
    unlearnt, learnt = int((right_before & ~right_after).sum()), int((~right_before & right_after).sum())
    low, high = paired_difference(unlearnt, learnt, len(labels))
    return Comparison(
        float32=_renamed(accuracy(float32, dataset, split), "accuracy in float32"),
        int8=accuracy(int8, dataset, split),
        lost=Metric(
            name="accuracy lost to int8",
            value=(unlearnt - learnt) / len(labels),
            low=low,
            high=high,
            images=len(labels),
            data=dataset.facts.description,
            split=split,
        ),
    )


def paired_difference(unlearnt: int, learnt: int, images: int) -> tuple[float, float]:
    """The 95 % interval of ``(unlearnt - learnt) / images``, both counted on the same images.

    Half an image added to each cell keeps it from collapsing where no image changed.
    Source: Agresti and Min, Statistics in Medicine 24 (2005) 729. Raises ``ValueError`` for no images.
    """
    if unlearnt < 0 or learnt < 0 or unlearnt + learnt > images or images == 0:
        raise ValueError(f"{unlearnt} lost and {learnt} won of {images} images")
    first, second, all_ = unlearnt + 0.5, learnt + 0.5, images + 2
    difference = (first - second) / all_
    spread = _Z * sqrt(first + second - (first - second) ** 2 / all_) / all_
    return difference - spread, difference + spread


def require_accuracy(name: str, comparison: Comparison) -> None:
    """Raise `AccuracyLost` unless int8 keeps `KEPT_SHARE` of the accuracy in float32."""
    before, after = comparison.float32, comparison.int8
    if after.value < KEPT_SHARE * before.value:
        raise AccuracyLost(
            f"{name}: {after.value:.2%} of {after.images:,} {after.split} images are recognised in int8, "
            f"{before.value:.2%} in float32; an artifact must keep {KEPT_SHARE:.0%} of that. "
            "Next: train longer (hemabench train), or serve the format that it is made from"
        )


def _renamed(metric: Metric, name: str) -> Metric:
    return Metric(
        name=name,
        value=metric.value,
        low=metric.low,
        high=metric.high,
        images=metric.images,
        data=metric.data,
        split=metric.split,
    )
