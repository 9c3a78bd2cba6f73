"""Data sets are built beside their place and moved there whole, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import cast

import numpy as np

from contract.arrays import ImageArray, LabelArray
from contract.errors import DataUnavailable
from contract.progress import Progress


@contextmanager
def only_builder(folder: Path, progress: Progress) -> Iterator[None]:
    """Held by one process at a time; the system lets go of it when that process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for the process that builds {folder}", 0, 1)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def building_folders(places: dict[int, Path]) -> Iterator[dict[int, Path]]:
    """Empty folders to build in, one beside each of ``places``; removed at the end, whatever happens."""
    folders = {key: place.with_name(f".{place.name}.building") for key, place in places.items()}
    try:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
            folder.mkdir(parents=True)
        yield folders
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def put_in_place(built: Path, place: Path) -> None:
    """Move ``built`` to ``place``. Who has the old files mapped keeps them until he lets go."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    built.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def new_images(folder: Path, images: int, resolution_px: int) -> ImageArray:
    """A writable map of ``images.npy``, (images, side, side, 3).

    Raises `DataUnavailable` where the disk is too full: a write to a map that
    finds no room kills the process without a word.
    """
    path, shape = folder / "images.npy", (images, resolution_px, resolution_px, 3)
    needed_bytes, free_bytes = prod(shape), shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise DataUnavailable(
            f"{images} images of {resolution_px} px take {needed_bytes / 1e6:,.0f} MB; {folder} has "
            f"{free_bytes / 1e6:,.0f} MB left. Next: make room, or name another folder with --cache"
        )
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _reserve(path)
    return cast(ImageArray, array)


def save_labels_and_splits(folder: Path, labels: LabelArray, splits: LabelArray) -> None:
    """Write ``labels.npy`` and ``splits.npy``."""
    np.save(folder / "labels.npy", labels, allow_pickle=False)
    np.save(folder / "splits.npy", splits, allow_pickle=False)


def _reserve(path: Path) -> None:
    """Take the room of a sparse file now, so that the next one sees what is left."""
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
