"""Rendered cells: no real image is needed, and no accuracy on them means anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from random import Random

import numpy as np

from contract.arrays import ImageArray, LabelArray
from contract.blood_cells import LABELS
from contract.dataset import DatasetFacts
from contract.progress import Progress
from train.cache import new_images, save_labels_and_splits
from train.cells import Cell, describe_cell, draw_cell
from train.dataset import DataSettings, SourceFacts
from train.splits import assign_splits


def facts(settings: DataSettings) -> SourceFacts:
    """What is rendered with ``settings``."""
    description = f"{settings.synthetic_images} rendered cells of seed {settings.seed}, own 7:1:2 split"
    return SourceFacts(description=description, real=False)


def locate(settings: DataSettings, resolutions_px: Collection[int]) -> str:
    """Nothing is needed that could be missing."""
    return "cells rendered by our own code"


def would_make(settings: DataSettings, built: DatasetFacts) -> bool:
    """The description says all that the cells are drawn from."""
    return True


def build(settings: DataSettings, folders: Mapping[int, Path], progress: Progress) -> None:
    """Draw every cell at each resolution of ``folders``."""
    count = settings.synthetic_images
    labels = _labels(count)
    splits = assign_splits([f"cell-{index}" for index in range(count)], labels.tolist(), seed=settings.seed)
    arrays = {resolution_px: new_images(folder, count, resolution_px) for resolution_px, folder in folders.items()}
    what = f"synthetic at {', '.join(map(str, folders))} px"
    for index in range(count):
        cell = _cell(index, settings.seed)
        for resolution_px, array in arrays.items():
            array[index] = draw_cell(cell, resolution_px)
        progress(what, index + 1, count)
    for folder in folders.values():
        save_labels_and_splits(folder, labels, splits)


def render_cells(count: int, resolution_px: int, seed: int) -> tuple[ImageArray, LabelArray]:
    """Images uint8 (count, side, side, 3) and their labels (count,), the classes in turn.

    The same ``seed`` gives the same cells at every resolution, and the same first cells
    whatever the ``count``.
    """
    cells = (_cell(index, seed) for index in range(count))
    images = np.empty((count, resolution_px, resolution_px, 3), dtype=np.uint8)
    for index, cell in enumerate(cells):
        images[index] = draw_cell(cell, resolution_px)
    return images, _labels(count)


def _cell(index: int, seed: int) -> Cell:
    return describe_cell(LABELS[index % len(LABELS)], Random(f"{seed}/{index}"))


def _labels(count: int) -> LabelArray:
    return (np.arange(count) % len(LABELS)).astype(np.uint8)
