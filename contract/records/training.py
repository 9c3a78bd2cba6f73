"""What a training run leaves for analysis: a folder with its record and every answer of its final weights.

    <campaign>/<model>-<resolution>px-<framework>-s<seed>/
        predictions.safetensors     logits, labels and positions of the validation and the test images
        training.json               written last: a folder without it is not a finished run
    <campaign>/report.html, summary.json    derived from the runs, when a report was asked for
    <campaign>/SHA256SUMS           the seal: a digest of every file, when the campaign has ended

Training writes it, analysis reads it. No figure is stored that can be derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from contract.arrays import FloatArray, LabelArray
from contract.blood_cells import LABELS
from contract.dataset import Split
from contract.environment import Environment
from contract.errors import RunInvalid
from contract.storage import sha256_of_file, write_atomically, write_json

TRAINING_FILE = "training.json"
PREDICTIONS_FILE = "predictions.safetensors"
EVALUATED_SPLITS: tuple[Split, ...] = ("validation", "test")
NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch. ``step_ns`` is the time inside the framework's steps, ``loop_ns`` includes waiting for batches."""

    epoch: int
    mean_loss: float
    validation_accuracy: float
    images: int
    step_ns: int
    loop_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One finished run. ``startup_ns`` is importing the framework and building the network, ``first_step_ns`` the
    first step, compilation included; ``reproducible`` says in words whether a repetition gives the same weights.
    """

    model: str
    framework: str
    resolution_px: int
    seed: int
    batch_images: int
    settings: dict[str, Any]
    started_from: str
    data_source: str
    data_description: str
    data_digest: str
    data_is_real: bool
    environment: Environment
    command: str
    created: str
    weights_digest: str
    startup_ns: int
    first_step_ns: int
    peak_memory_bytes: int
    epochs: tuple[EpochRecord, ...]
    reproducible: str = NOT_CHECKED
    temperature: float | None = None
    predictions_sha256: str = ""
    labels: tuple[str, ...] = LABELS

    @property
    def name(self) -> str:
        """The folder's name."""
        return run_name(self.model, self.resolution_px, self.framework, self.seed)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Logits (n, classes) of the images at ``positions`` (n,) of the data set, with their ``labels`` (n,)."""

    positions: NDArray[np.int64]
    labels: LabelArray
    logits: FloatArray


def run_name(model: str, resolution_px: int, framework: str, seed: int) -> str:
    """How a run's folder is called: ``hemanet-28px-flax-s3``."""
    return f"{model}-{resolution_px}px-{framework}-s{seed}"


def is_training_folder(folder: Path) -> bool:
    """Whether ``folder`` is a finished training run or a campaign of them."""
    return (folder / TRAINING_FILE).is_file() or any(folder.glob(f"*/{TRAINING_FILE}"))


def training_run_folders(folder: Path) -> list[Path]:
    """The finished runs of the campaign ``folder``, or itself if it is one."""
    if (folder / TRAINING_FILE).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{TRAINING_FILE}"))


def save_training_run(folder: Path, run: TrainingRun, predictions: Mapping[Split, Predictions]) -> None:
    """Write ``run`` and its ``predictions`` to ``folder``; the record comes last."""
    arrays: dict[str, NDArray[Any]] = {}
    for split, found in predictions.items():
        arrays |= {f"{split}/positions": found.positions, f"{split}/labels": found.labels}
        arrays[f"{split}/logits"] = np.ascontiguousarray(found.logits, dtype=np.float32)
    write_atomically(folder / PREDICTIONS_FILE, save(arrays))
    digest = sha256_of_file(folder / PREDICTIONS_FILE)
    write_json(folder / TRAINING_FILE, replace(run, predictions_sha256=digest))


def load_training_record(folder: Path) -> TrainingRun:
    """The record of the run in ``folder``; raises `RunInvalid`."""
    try:
        return msgspec.json.decode((folder / TRAINING_FILE).read_bytes(), type=TrainingRun)
    except (OSError, msgspec.MsgspecError) as error:
        raise RunInvalid(f"{folder / TRAINING_FILE}: not a readable training record: {error}. {_AGAIN}") from error


def load_training_run(folder: Path) -> tuple[TrainingRun, dict[Split, Predictions]]:
    """Read what `save_training_run` wrote, checked; raises `RunInvalid`."""
    run, path = load_training_record(folder), folder / PREDICTIONS_FILE
    try:
        if sha256_of_file(path) != run.predictions_sha256:
            raise RunInvalid(f"{path} changed since it was written. {_AGAIN}")
        arrays = load_file(path)
        found = {
            split: Predictions(*(arrays[f"{split}/{part}"] for part in ("positions", "labels", "logits")))
            for split in EVALUATED_SPLITS
        }
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise RunInvalid(f"{path}: no readable predictions: {error!r}. {_AGAIN}") from error
    for split, one in found.items():
        _require_whole(one, len(run.labels), f"{path}: {split}")
    return run, found


def _require_whole(found: Predictions, classes: int, where: str) -> None:
    shape = found.logits.shape
    if shape != (len(found.labels), classes) or len(found.positions) != len(found.labels) or not len(found.labels):
        raise RunInvalid(f"{where}: logits of shape {shape} for {len(found.labels)} labels. {_AGAIN}")
    if not np.isfinite(found.logits).all() or found.labels.max() >= classes:
        raise RunInvalid(f"{where}: a logit that is no number, or a label that is no class. {_AGAIN}")


_AGAIN = "Next: train this run again"
