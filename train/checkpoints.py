"""Trained weights on disk: one safetensors file per network and resolution, with its training record inside.

<model>-<resolution>px.safetensors
<model>-<resolution>px.distribution.safetensors    what the training images look like; only with a calibration, which
                                                   names its digest
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.architecture import ModelSpec, spec_named
from contract.calibration import Calibration, Distribution
from contract.errors import ArtifactUnavailable, ManifestInvalid, WeightsMismatch
from contract.storage import sha256_of_file
from contract.weights import Weights, load_facts, load_weights, save_weights
from train.training import Trained, TrainingRecord


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights that fit ``spec``, how they were trained, and on images of what distribution, if it was fitted."""

    spec: ModelSpec
    weights: Weights
    record: TrainingRecord
    distribution: Distribution | None = None


def checkpoint_path(folder: Path, model: str, resolution_px: int) -> Path:
    """Where the weights of that network and resolution lie."""
    return folder / f"{model}-{resolution_px}px.safetensors"


def distribution_path(checkpoint: Path) -> Path:
    """Where the distribution that belongs to ``checkpoint`` lies."""
    return checkpoint.with_suffix(".distribution.safetensors")


def save_checkpoint(path: Path, trained: Trained) -> None:
    """Write weights and record to ``path``, atomically; the distribution before them, as they refer to it."""
    spec = spec_named(trained.record.settings.model, trained.record.settings.classes)
    if trained.distribution is not None:
        trained.distribution.save(distribution_path(path))
    save_weights(path, trained.weights, spec, msgspec.to_builtins(trained.record))


def load_checkpoint(path: Path, *, calibrated: bool = True) -> Checkpoint:
    """Read what `save_checkpoint` wrote; raises `ArtifactUnavailable`, `WeightsMismatch` or `ManifestInvalid`.

    With ``calibrated`` false its calibration is left aside, as by who is about to fit it anew.
    """
    if not path.is_file():
        raise ArtifactUnavailable(f"no trained weights at {path}. Next: hemabench train")
    try:
        record = msgspec.convert(load_facts(path), TrainingRecord)
    except (msgspec.ValidationError, ManifestInvalid) as error:
        raise WeightsMismatch(f"{path}: its training record is not readable: {error}") from error
    spec = spec_named(record.settings.model, record.settings.classes)
    distribution = _distribution_of(path, record.calibration) if calibrated and record.calibration else None
    return Checkpoint(spec, load_weights(path, spec), record, distribution)


def _distribution_of(checkpoint: Path, calibration: Calibration) -> Distribution:
    """What lies beside ``checkpoint``, if it is what the threshold was fitted with: the two files can be mixed up."""
    path = distribution_path(checkpoint)
    distribution = Distribution.load(path)
    if calibration.distribution_sha256 not in ("", sha256_of_file(path)):
        raise ManifestInvalid(f"{path} is not the distribution that belongs to {checkpoint}. Next: hemabench calibrate")
    return distribution
