"""Runs in a process of its own: a training run in one go, and the same one stopped and resumed.

python resume_probe.py FRAMEWORK FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from contract.dataset import Dataset, DatasetFacts
from contract.progress import silent
from contract.weights import digest_of_weights
from train.settings import TrainSettings
from train.sources.synthetic import render_cells
from train.training import train

EPOCHS, STOP_IN_EPOCH = 3, 2


def dataset() -> Dataset:
    """Eighty rendered cells: 48 to train on, 16 to validate, 16 to test."""
    images, labels = render_cells(80, 28, seed=1)
    splits = np.repeat([0, 1, 2], [48, 16, 16]).astype(np.uint8)
    digest = "0" * 64
    facts = DatasetFacts(
        source="synthetic",
        description="rendered",
        resolution_px=28,
        real=False,
        images=len(images),
        images_sha256=digest,
        labels_sha256=digest,
        splits_sha256=digest,
    )
    return Dataset(facts, images, labels, splits)


def stop_in_epoch(what: str, done: float, total: float) -> None:
    """Ctrl-C in the middle of an epoch."""
    if f"epoch {STOP_IN_EPOCH}/" in what and done == total / EPOCHS * (STOP_IN_EPOCH - 0.5):
        raise KeyboardInterrupt


def main(framework: str, folder: str) -> None:
    """Print the digest of the weights of both runs."""
    settings = TrainSettings(
        framework=framework, epochs=EPOCHS, batch_images=12, warmup_epochs=1, average_every_steps=3
    )
    kept = Path(folder) / "run.unfinished"
    straight = train(settings, dataset(), silent)
    try:
        train(settings, dataset(), stop_in_epoch, keep_at=kept)
    except KeyboardInterrupt:
        resumed = train(settings, dataset(), silent, keep_at=kept, resume=True)
    other = train(replace(settings, seed=9), dataset(), silent)
    for trained in (straight, resumed, other):
        sys.stdout.write(f"{digest_of_weights(trained.weights)} {len(trained.record.epochs)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
