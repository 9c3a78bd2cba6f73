"""In a process of its own: how many held-out cells the committed weights know, as they are and through JPEG."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

from contract.blood_cells import LABELS
from contract.dataset import SPLITS
from contract.preprocessing import scale_pixels
from train.augmentation import jpeg_round_trip
from train.checkpoints import checkpoint_path, load_checkpoint
from train.frameworks import load_framework
from train.settings import TrainSettings
from train.sources.pbc import read_index
from train.splits import assign_splits

IMAGES_AT_ONCE = 100


def held_out(root: Path, most: int) -> list[tuple[Image.Image, int]]:
    """Cells of the test split, evenly spread over it, with their classes."""
    images, groups = read_index(root)
    splits = assign_splits(
        [one.file for one in images], [LABELS.index(one.label) for one in images], seed=0, groups=groups
    )
    found = [one for one, split in zip(images, splits, strict=True) if SPLITS[split] == "test"]
    chosen = [found[int(at)] for at in np.linspace(0, len(found) - 1, min(most, len(found)))]
    archives = {name: ZipFile(root / name) for name in {one.archive for one in chosen}}
    return [
        (Image.open(BytesIO(archives[one.archive].read(one.file))).crop(one.window), LABELS.index(one.label))
        for one in chosen
    ]


def main(root: Path, checkpoints: Path, resolution_px: int, most: int) -> dict[str, int]:
    checkpoint = load_checkpoint(checkpoint_path(checkpoints, "hemanet", resolution_px))
    trainer = load_framework("pytorch").Trainer(checkpoint.spec, checkpoint.weights, TrainSettings())
    cells = held_out(root, most)
    labels = np.array([label for _, label in cells])
    side = (resolution_px, resolution_px)
    clean = np.stack([np.asarray(cell.resize(side, Image.Resampling.BILINEAR)) for cell, _ in cells])

    def right(images: np.ndarray) -> int:
        parts = [images[at : at + IMAGES_AT_ONCE] for at in range(0, len(images), IMAGES_AT_ONCE)]
        return int((np.concatenate([trainer.predict(scale_pixels(part)) for part in parts]).argmax(1) == labels).sum())

    damaged = np.stack([jpeg_round_trip(image) for image in clean])
    return {"cells": len(cells), "right": right(clean), "right_through_jpeg": right(damaged)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
