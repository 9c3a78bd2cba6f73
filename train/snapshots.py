"""A training run between two epochs, whole enough to go on from to the same result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from contract.errors import RunInvalid
from contract.records.training import EpochRecord
from contract.storage import write_atomically
from contract.weights import Weights
from train.settings import TrainSettings

Arrays = dict[str, NDArray[np.generic]]
_PARTS = ("weights", "average", "optimizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a run was given and how far it is; ``averaged`` counts the weights in the average.

    ``early_digest`` is that of the weights after the steps that `train.replay` repeats.
    """

    settings: TrainSettings
    started_from: str
    data_digest: str
    first_step_ns: int
    steps: int
    averaged: int
    epochs: tuple[EpochRecord, ...]
    startup_ns: int = 0
    early_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A `Course` with its arrays. ``optimizer`` is the framework's own state, in its own layout."""

    course: Course
    weights: Weights
    average: Weights
    optimizer: Arrays


def snapshot_path(checkpoint: Path) -> Path:
    """Where the snapshot of the run that will write ``checkpoint`` lies."""
    return checkpoint.with_suffix(".unfinished")


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write ``snapshot`` to ``path``, atomically."""
    arrays = {
        f"{part}/{name}": np.asarray(array, order="C")  # which leaves a scalar a scalar
        for part in _PARTS
        for name, array in getattr(snapshot, part).items()
    }
    course = msgspec.json.encode(snapshot.course).decode()
    write_atomically(path, save(arrays, metadata={"course": course}))


def load_snapshot(path: Path) -> Snapshot:
    """Read what `save_snapshot` wrote; raises `RunInvalid`."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            course = msgspec.json.decode((file.metadata() or {})["course"], type=Course)
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError as error:
        raise RunInvalid(f"no unfinished training at {path}. Next: train without --resume") from error
    except (OSError, KeyError, safetensors.SafetensorError, msgspec.MsgspecError) as error:
        raise RunInvalid(f"{path}: not a readable snapshot: {error}. Next: train without --resume") from error
    parts: dict[str, Arrays] = {part: {} for part in _PARTS}
    for key, array in arrays.items():
        part, _, name = key.partition("/")
        parts[part][name] = array
    return Snapshot(course=course, **parts)  # type: ignore[arg-type]  # float32 was written


def require_same_course(snapshot: Snapshot, settings: TrainSettings, data_digest: str, path: Path) -> None:
    """Raise `RunInvalid` where ``snapshot`` belongs to a run with other settings or other images."""
    if snapshot.course.settings != settings:
        raise RunInvalid(
            f"{path} was begun with other settings ({snapshot.course.settings}). Next: repeat them, or train anew"
        )
    if snapshot.course.data_digest != data_digest:
        raise RunInvalid(f"{path} was begun with other images. Next: train anew")
