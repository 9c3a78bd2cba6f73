"""Whether how a file was taken tells its class, and whether a network could see how it was taken.

The PBC files differ in two ways that a network is not told: the size of the original, and
whether its JPEG kept colour at full resolution. A class that has a way of its own would
offer a shortcut. The size of the original is gone, but it decided where a lossless crop
around its centre could begin, and so how large the stored crop is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.dataset import Dataset
from contract.records.training import Predictions
from contract.statistics.intervals import wilson
from contract.statistics.ranking import Area, mean_area_of_strata
from train.sources.pbc import IndexedImage, listed_images, read_index

RIDGE = 1.0
SMALL_PX = 14  # what the probe sees of an image
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """``right`` of ``images``, with Wilson's 95 % interval."""

    right: int
    images: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionGroup:
    """Files taken alike; ``left_out`` more of them are listed but not used, for copies that contradict each other.

    ``seen_by_probe`` is the area under the ROC curve, on test images and within classes, of a
    linear probe that was to tell the group from the rest: 0.5 is guessing. ``accuracy`` and ``accuracy_of_rest`` are
    those of recorded networks, ``accuracy_of_rest`` weighted as the group's classes are.
    """

    name: str
    images: int
    left_out: int = 0
    classes: dict[str, int]
    test_images: int
    seen_by_probe: Area | None
    accuracy: Share | None
    accuracy_of_rest: float | None


@dataclass(frozen=True, slots=True)
class Taken:
    """How images were taken: of those that are ``used``, in the data set's order, and of those ``left_out``."""

    used: list[str]
    left_out: list[str]


def how_taken(source: Path) -> Taken:
    """Chroma sampling and size of the stored crop of every image in index.csv."""
    used, _ = read_index(source)
    files = {image.file for image in used}
    left_out = [image for image in listed_images(source) if image.file not in files]
    with ExitStack() as open_archives:
        archives = {
            name: open_archives.enter_context(ZipFile(source / name))
            for name in {image.archive for image in [*used, *left_out]}
        }
        found = [[_taken(archives[image.archive], image) for image in images] for images in (used, left_out)]
    return Taken(*found)


def _taken(archive: ZipFile, image: IndexedImage) -> str:
    """From the header alone; the crops are lossless, so their sampling is the original's."""
    with archive.open(image.file) as file, Image.open(file, formats=["JPEG"]) as opened:
        layers: list[tuple[int, int, int, int]] = opened.layer  # type: ignore[attr-defined]  # Pillow's own, untyped
    chroma = "full colour" if {layer[1:3] for layer in layers} == {(1, 1)} else "subsampled colour"
    return f"{chroma}, crop {image.width_px}x{image.height_px}"


def audit_acquisition(dataset: Dataset, taken: Taken, predictions: Sequence[Predictions]) -> list[AcquisitionGroup]:
    """Every way of taking but the commonest, beside the rest."""
    names = np.array(taken.used)
    kinds, counts = np.unique(names, return_counts=True)
    rare = [str(kind) for kind in kinds[np.argsort(-counts)][1:]]
    pixels = _small(dataset) if rare else np.empty((0, 0))
    return [
        replace(_group(dataset, kind, names == kind, pixels, predictions), left_out=taken.left_out.count(kind))
        for kind in rare
    ]


def _group(
    dataset: Dataset, name: str, member: Flags, pixels: NDArray[np.float64], predictions: Sequence[Predictions]
) -> AcquisitionGroup:
    test = dataset.indices("test")
    classes = np.bincount(dataset.labels[member], minlength=len(dataset.facts.labels)).tolist()
    accuracy, rest = _accuracies(member, predictions)
    return AcquisitionGroup(
        name=name,
        images=int(member.sum()),
        classes={label: count for label, count in zip(dataset.facts.labels, classes, strict=True) if count},
        test_images=int(member[test].sum()),
        seen_by_probe=_seen_by_probe(dataset, member, pixels),
        accuracy=accuracy,
        accuracy_of_rest=rest,
    )


def _small(dataset: Dataset) -> NDArray[np.float64]:
    """(n, features): 14x14 pixels and, for texture, the mean absolute step between neighbours of each channel."""
    images = np.asarray(dataset.images)
    step = max(1, images.shape[1] // SMALL_PX)
    pixels = images[:, ::step, ::step].reshape(len(images), -1) / 255.0
    steps = [np.abs(np.diff(images.astype(np.int16), axis=axis)).mean(axis=(1, 2)) / 255.0 for axis in (1, 2)]
    return np.concatenate([pixels, *steps], axis=1)


def _seen_by_probe(dataset: Dataset, member: Flags, pixels: NDArray[np.float64]) -> Area | None:
    """Ridge regression on train images; the mean over classes, on test images, of the area under the curve.
    Its interval is of other test images, not of another probe.

    Within a class, because a class that is common in the group would be recognised instead
    of the group. None where no class has both kinds on both sides.
    """
    strata = []
    for label in np.unique(dataset.labels[member]):
        of_class = dataset.labels == label
        train, test = (dataset.indices(split)[of_class[dataset.indices(split)]] for split in ("train", "test"))
        both = [0 < member[part].sum() < len(part) for part in (train, test)]
        if all(both):
            answers = _ridge(pixels[train], member[train], pixels[test])
            strata.append((answers, member[test]))
    return mean_area_of_strata(strata) if strata else None


def _ridge(pixels: NDArray[np.float64], member: Flags, others: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = pixels.mean(axis=0)
    centred = pixels - mean
    wanted = member / member.sum() - ~member / (~member).sum()  # both kinds weigh the same
    weights = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(len(mean)), centred.T @ wanted)
    return np.asarray((others - mean) @ weights)


def _accuracies(member: Flags, predictions: Sequence[Predictions]) -> tuple[Share | None, float | None]:
    """Of the group's test images an image is right when most recorded networks were; the rest, by the same rule."""
    if not predictions:
        return None, None
    first = predictions[0]
    votes = np.mean([one.logits.argmax(axis=1) == one.labels for one in predictions], axis=0)
    right, inside = votes > 0.5, member[first.positions]
    n, hits = int(inside.sum()), int(right[inside].sum())
    if n == 0:
        return None, None
    low, high = wilson(hits, n)
    rest = [
        right[~inside & (first.labels == label)].mean()
        for label in first.labels[inside]
        if (~inside & (first.labels == label)).any()
    ]
    return Share(right=hits, images=n, value=hits / n, low=low, high=high), float(np.mean(rest)) if rest else None
