"""Exported artifacts -> artifacts in int8, each as accurate as the gate asks, or refused in words.

python -m train.quantisation.making --model hemanet --resolution 28 --checkpoints DIR --artifacts DIR --cache DIR \
    --output FILE
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from contract.arrays import FloatArray
from contract.children import answer_parent, run_child, tell_parent
from contract.dataset import Dataset, dataset_folder, load_dataset, verify_images
from contract.environment import versions_of
from contract.errors import AccuracyLost, ArtifactUnavailable, DataUnavailable, ManifestInvalid
from contract.manifest import (
    DISTRIBUTION_FILE,
    FORMATS,
    GOLDEN_FILE,
    QUANTISED_FROM,
    Artifact,
    Metric,
    artifact_folder,
    digests_of_files,
    load_artifact,
    save_manifest,
)
from contract.parity import TOLERANCES, prove_parity
from contract.preprocessing import scale_pixels
from contract.progress import Progress, silent
from train.checkpoints import checkpoint_path, load_checkpoint
from train.dataset import DataSettings
from train.evaluate import IMAGES_AT_ONCE, accuracy, logits_of
from train.export import ExportSettings
from train.quantisation.gate import compared, require_accuracy
from train.quantisation.network import CALIBRATION_IMAGES, predict_of, quantise
from train.recalibration import require_same_images
from train.scratch import built_for, replace_folder

INT8 = "onnx_int8"
CALIBRATION_SEED = 2020
PACKAGES = ("onnx", "onnxruntime", "onnxruntime-gpu")
CACHE = DataSettings().cache


@dataclass(frozen=True, slots=True)
class Quantised:
    """The artifacts that are there, and why others could not be made, each in words."""

    artifacts: list[Artifact]
    refusals: list[str]


def quantise_all(settings: ExportSettings, cache: Path, progress: Progress, *, required: bool = True) -> Quantised:
    """Make the quantised artifacts of ``settings`` that are missing or out of date, one process each.

    Without ``required``, images that are not in ``cache`` and a network that loses too much accuracy become refusals;
    with it they raise `DataUnavailable` and `AccuracyLost`.
    """
    artifacts: list[Artifact] = []
    refusals: list[str] = []
    sides = settings.resolutions_px if settings.quantised_formats else ()
    for number, side in enumerate(sides):
        folder = artifact_folder(settings.artifacts, INT8, side)
        progress(f"quantise at {side} px", number, len(sides))
        try:
            if settings.force or not _is_current(folder, load_artifact(_source(settings.artifacts, side))):
                run_child("train.quantisation.making", _arguments(settings, cache, side), str, _within(progress, sides))
        except (DataUnavailable, AccuracyLost) as refusal:
            if required:
                raise
            refusals.append(f"{INT8} at {side} px was not made. {refusal}")
        else:
            artifacts.append(load_artifact(folder))
    return Quantised(artifacts, refusals)


def quantise_artifact(
    model: str, side: int, checkpoints: Path, artifacts: Path, cache: Path, progress: Progress = silent
) -> str:
    """Make one artifact in this process and put it in its place; returns its digest.

    Raises `DataUnavailable`, `AccuracyLost` or `ParityError`, and leaves an earlier artifact untouched.
    """
    source, target = load_artifact(_source(artifacts, side)), artifact_folder(artifacts, INT8, side)
    dataset = _images_of(checkpoint_path(checkpoints, model, side), cache, side)
    with built_for(target) as built:
        path = built / FORMATS[INT8]
        progress(f"calibrate at {side} px", 0, 1)
        quantise(source.model_path, path, calibration_batches(dataset))
        progress(f"measure accuracy at {side} px", 0.5, 1)
        metrics = measured(f"{model}/{INT8}/{side}px", source.model_path, path, dataset)
        _save(built, source, metrics)
        replace_folder(built, target)
    return load_artifact(target).digest


def calibration_batches(dataset: Dataset) -> Iterator[FloatArray]:
    """The same training images each time, in the order of the data set."""
    of_training = dataset.indices("train")
    rng = np.random.default_rng(CALIBRATION_SEED)
    chosen = np.sort(rng.choice(of_training, min(CALIBRATION_IMAGES, len(of_training)), replace=False))
    for start in range(0, len(chosen), IMAGES_AT_ONCE):
        yield scale_pixels(dataset.images[chosen[start : start + IMAGES_AT_ONCE]])


def measured(name: str, original: Path, quantised: Path, dataset: Dataset) -> tuple[Metric, ...]:
    """Accuracy on test images, then what was lost on validation images; raises `AccuracyLost` beyond the gate."""
    before, after = (logits_of(predict_of(path), dataset, "validation") for path in (original, quantised))
    comparison = compared(before, after, dataset)
    require_accuracy(name, comparison)
    test = accuracy(logits_of(predict_of(quantised), dataset, "test"), dataset, "test")
    return test, comparison.int8, comparison.float32, comparison.lost


def _save(built: Path, source: Artifact, metrics: tuple[Metric, ...]) -> None:
    for name in (GOLDEN_FILE, DISTRIBUTION_FILE):
        if name in source.manifest.files:
            shutil.copyfile(source.folder / name, built / name)
    predict = predict_of(built / FORMATS[INT8])
    manifest = replace(
        source.manifest,
        format=INT8,
        files=digests_of_files(built),
        versions=versions_of(PACKAGES),
        parity=prove_parity(f"{source.manifest.model}/{INT8}", predict, source.golden(), TOLERANCES["int8"]),
        metrics=metrics,
    )
    save_manifest(built, manifest)


def _images_of(checkpoint: Path, cache: Path, side: int) -> Dataset:
    """The images in ``cache`` that the weights were trained on; nothing is downloaded or built for it."""
    found = load_checkpoint(checkpoint)
    folder = dataset_folder(cache, found.record.data_source, side)
    dataset = load_dataset(folder)
    require_same_images(found, dataset, checkpoint)
    verify_images(folder, dataset.facts)  # an image that was damaged would set the scales of int8, and be scored
    return dataset


def _source(artifacts: Path, side: int) -> Path:
    return artifact_folder(artifacts, QUANTISED_FROM[INT8], side)


def _is_current(folder: Path, source: Artifact) -> bool:
    """Whether the artifact was made from this network by the installed versions, and is undamaged."""
    try:
        made, wanted = load_artifact(folder).manifest, source.manifest
    except (ArtifactUnavailable, ManifestInvalid):
        return False
    return (
        made.weights_digest == wanted.weights_digest
        and made.spec_digest == wanted.spec_digest
        and made.distance_threshold == wanted.distance_threshold
        and made.temperature == wanted.temperature
        and made.files.get(DISTRIBUTION_FILE) == wanted.files.get(DISTRIBUTION_FILE)
        and made.versions == versions_of(PACKAGES)
    )


def _arguments(settings: ExportSettings, cache: Path, side: int) -> list[str]:
    places = {"--checkpoints": settings.checkpoints, "--artifacts": settings.artifacts, "--cache": cache}
    given = [text for name, place in places.items() for text in (name, str(place.absolute()))]
    return ["--model", settings.model, "--resolution", str(side), *given]


def _within(progress: Progress, sides: tuple[int, ...]) -> Progress:
    return lambda what, done, total: progress(what, done / total, len(sides))


def main() -> None:
    """The child process of `quantise_all`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--resolution", type=int, required=True)
    for place in ("--checkpoints", "--artifacts", "--cache", "--output"):
        parser.add_argument(place, type=Path, required=True)
    given = parser.parse_args()
    places = (given.checkpoints, given.artifacts, given.cache)
    answer_parent(given.output, lambda: quantise_artifact(given.model, given.resolution, *places, tell_parent))


if __name__ == "__main__":
    main()
