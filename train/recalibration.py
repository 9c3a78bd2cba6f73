"""Checkpoints that exist are given their calibration anew, without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from contract.dataset import Dataset
from contract.errors import DataUnavailable
from contract.progress import Progress
from train.calibration import calibrate, final_scores
from train.checkpoints import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from train.dataset import DataSettings, verified_datasets
from train.evaluate import logits_of
from train.frameworks import load_framework
from train.training import Trained, TrainingRecord


def recalibrate(
    folder: Path, model: str, data: DataSettings, resolutions_px: Sequence[int], progress: Progress
) -> list[tuple[Path, TrainingRecord]]:
    """Fit and store temperature and distribution of each checkpoint in ``folder``, and score them on the test split.

    Raises `DataUnavailable` where the images are not those that the weights were trained
    on: what is validation in one data set may be training in another.
    """
    paths = {px: checkpoint_path(folder, model, px) for px in resolutions_px}
    checkpoints = {px: load_checkpoint(path, calibrated=False) for px, path in paths.items()}
    datasets = verified_datasets(data, resolutions_px, progress)
    for px, checkpoint in checkpoints.items():
        require_same_images(checkpoint, datasets[px], paths[px])
    records = []
    for number, (px, checkpoint) in enumerate(checkpoints.items()):
        progress(f"calibrate {model} at {px} px", number, len(checkpoints))
        trained = _calibrated(checkpoint, datasets[px])
        save_checkpoint(paths[px], trained)
        records.append((paths[px], trained.record))
    progress("calibrated", len(checkpoints), len(checkpoints))
    return records


def _calibrated(checkpoint: Checkpoint, dataset: Dataset) -> Trained:
    # As it is served, however it was trained.
    settings = replace(checkpoint.record.settings, precision="float32", compiled=False)
    trainer = load_framework(settings.framework).Trainer(checkpoint.spec, checkpoint.weights, settings)
    validation, test = (logits_of(trainer.predict, dataset, split) for split in ("validation", "test"))
    calibration, distribution = calibrate(dataset, validation)
    metrics = final_scores(calibration, distribution, validation, test, dataset)
    record = replace(
        checkpoint.record, calibration=calibration, metrics=metrics, splits_sha256=dataset.facts.splits_sha256
    )
    return Trained(checkpoint.weights, record, distribution=distribution)


def require_same_images(checkpoint: Checkpoint, dataset: Dataset, path: Path) -> None:
    """Raise `DataUnavailable` unless ``dataset`` is what the weights in ``path`` were trained on."""
    if checkpoint.record.data_digest != dataset.facts.images_sha256:
        raise DataUnavailable(
            f"{path} was trained on {checkpoint.record.data_description}, images "
            f"{checkpoint.record.data_digest[:12]}; these are {dataset.facts.description}, "
            f"{dataset.facts.images_sha256[:12]}. Next: name its data set with --data and --data-root"
        )
