"""Trained weights on disk: one safetensors file per network and resolution, with its training record inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.architecture import ModelSpec, spec_named
from contract.errors import ArtifactUnavailable, WeightsMismatch
from contract.weights import Weights, load_facts, load_weights, save_weights
from train.training import Trained, TrainingRecord


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights that fit ``spec``, and how they were trained."""

    spec: ModelSpec
    weights: Weights
    record: TrainingRecord


def checkpoint_path(folder: Path, model: str, resolution_px: int) -> Path:
    """Where the weights of that network and resolution lie."""
    return folder / f"{model}-{resolution_px}px.safetensors"


def save_checkpoint(path: Path, trained: Trained) -> None:
    """Write weights and record to ``path``, atomically."""
    spec = spec_named(trained.record.settings.model)
    save_weights(path, trained.weights, spec, msgspec.to_builtins(trained.record))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote; raises `ArtifactUnavailable` or `WeightsMismatch`."""
    if not path.is_file():
        raise ArtifactUnavailable(f"no trained weights at {path}. Next: hemabench train")
    try:
        record = msgspec.convert(load_facts(path), TrainingRecord)
    except msgspec.ValidationError as error:
        raise WeightsMismatch(f"{path}: its training record is not readable: {error}") from error
    spec = spec_named(record.settings.model)
    return Checkpoint(spec, load_weights(path, spec), record)
