"""A set of labelled images in the cache, one folder per source and resolution.

    <cache>/<source>/<resolution>px/
        dataset.json    written last: a folder without it is not a data set
        images.npy      uint8 (n, side, side, 3), memory-mapped
        labels.npy      uint8 (n,), class indices in the order of ``LABELS``
        splits.npy      uint8 (n,), indices into ``SPLITS``

Training builds it, training and load tests read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from contract.arrays import ImageArray, LabelArray
from contract.blood_cells import LABELS
from contract.errors import DataCorrupt, DataUnavailable
from contract.storage import read_json, sha256_of_file, sync_file, write_json

DATASET_FILE = "dataset.json"
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What a data set is. ``real`` is false for rendered images: speed may be measured on them, accuracy not."""

    source: str
    description: str
    resolution_px: int
    real: bool
    images: int
    images_sha256: str
    labels_sha256: str
    splits_sha256: str
    labels: tuple[str, ...] = LABELS
    origin_sha256: str = ""  # of the tables that listed the images; none where the description says it all


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images (n, side, side, 3), labels (n,) and splits (n,) of one source at one resolution."""

    facts: DatasetFacts
    images: ImageArray
    labels: LabelArray
    splits: LabelArray

    def indices(self, split: Split) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Positions of the images of ``split``, ascending."""
        return np.flatnonzero(self.splits == SPLITS.index(split))


def dataset_folder(cache: Path, source: str, resolution_px: int) -> Path:
    """Where the cache keeps ``source`` at ``resolution_px``."""
    return cache / source / f"{resolution_px}px"


def load_dataset(folder: Path) -> Dataset:
    """The data set in ``folder``.

    Labels and splits are checked against their SHA-256; images, up to 2.5 GB, are
    mapped and checked for shape only (``verify_images`` reads them all).
    Raises `DataUnavailable` or `DataCorrupt`.
    """
    if not (folder / DATASET_FILE).is_file():
        raise DataUnavailable(f"no data set in {folder}. Next: hemabench data")
    facts = read_json(folder / DATASET_FILE, DatasetFacts)
    images, labels, splits = (_mapped(folder / f"{name}.npy") for name in ("images", "labels", "splits"))
    side = facts.resolution_px
    if images.shape != (facts.images, side, side, 3) or {len(labels), len(splits)} != {facts.images}:
        raise DataCorrupt(
            f"{folder}: arrays do not have the {facts.images} images of {side} px that it lists. {_AGAIN}"
        )
    for name, expected in (("labels", facts.labels_sha256), ("splits", facts.splits_sha256)):
        if sha256_of_file(folder / f"{name}.npy") != expected:
            raise DataCorrupt(f"{folder / name}.npy changed since it was written. {_AGAIN}")
    return Dataset(facts, images, np.asarray(labels), np.asarray(splits))


def save_dataset_facts(
    folder: Path,
    *,
    source: str,
    description: str,
    real: bool,
    labels: tuple[str, ...] = LABELS,
    origin_sha256: str = "",
) -> Dataset:
    """Describe the three arrays that lie in ``folder``, which turns it into a data set."""
    images = _mapped(folder / "images.npy")
    for name in ("images", "labels", "splits"):
        sync_file(folder / f"{name}.npy")  # before what vouches for it: a machine may go down between them
    facts = DatasetFacts(
        source=source,
        description=description,
        resolution_px=images.shape[1],
        real=real,
        images=len(images),
        labels=labels,
        images_sha256=sha256_of_file(folder / "images.npy"),
        labels_sha256=sha256_of_file(folder / "labels.npy"),
        splits_sha256=sha256_of_file(folder / "splits.npy"),
        origin_sha256=origin_sha256,
    )
    write_json(folder / DATASET_FILE, facts)
    return load_dataset(folder)


def verify_images(folder: Path, facts: DatasetFacts) -> None:
    """Read every image byte; raises `DataCorrupt` where they are not what was written."""
    if sha256_of_file(folder / "images.npy") != facts.images_sha256:
        raise DataCorrupt(f"{folder / 'images.npy'} changed since it was written. {_AGAIN}")


_AGAIN = "Next: hemabench data --rebuild"


def _mapped(path: Path) -> ImageArray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataCorrupt(f"{path}: {error}. {_AGAIN}") from error
    if array.dtype != np.uint8:
        raise DataCorrupt(f"{path}: {array.dtype}, not uint8. {_AGAIN}")
    return cast(ImageArray, array)
