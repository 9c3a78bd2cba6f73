"""The three frameworks, each a sibling file with the same names inside, listed here and imported on use.

Every file has

    Network-building from a `ModelSpec`, `Trainer` (below), and
    `export(spec, weights, resolution_px, format_, folder)` with `reload(format_, path)`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from contract.architecture import ModelSpec
from contract.arrays import FloatArray
from contract.errors import InvalidSettings, RuntimeUnavailable
from contract.parity import Predict
from contract.weights import Weights
from train.batches import Batch
from train.settings import TrainSettings
from train.snapshots import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkEntry:
    """A framework's file, the extra that installs it, the formats it exports, and the packages to record."""

    module: str
    extra: str
    formats: tuple[str, ...]
    packages: tuple[str, ...]


FRAMEWORKS = {
    "pytorch": FrameworkEntry(
        module="train.frameworks.pytorch",
        extra="pytorch,onnx",
        formats=("torch_export", "onnx"),
        packages=("torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu"),
    ),
    "keras": FrameworkEntry(
        module="train.frameworks.keras",
        extra="tensorflow",
        formats=("saved_model",),
        packages=("tensorflow-cpu", "tensorflow", "keras"),
    ),
    "flax": FrameworkEntry(
        module="train.frameworks.flax",
        extra="jax",
        formats=("stablehlo",),
        packages=("jax", "jaxlib", "flax", "optax"),
    ),
}


class Trainer(Protocol):
    """A network with its optimiser, living in one framework."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, FloatArray], settings: TrainSettings) -> None: ...

    def step(self, batch: Batch, learning_rate: float) -> float:
        """One update of the weights; returns the mean cross-entropy before it."""
        ...

    def gradients(self, batch: Batch) -> Weights:
        """Gradients of the mean cross-entropy in canonical layout, weights unchanged."""
        ...

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (batch, classes) with running statistics, as a served model computes them."""
        ...

    def weights(self) -> Weights:
        """A copy of the weights in canonical order and layout."""
        ...

    def replace_weights(self, weights: Mapping[str, FloatArray]) -> None:
        """Load ``weights``; the optimiser's state stays."""
        ...

    def optimizer_state(self) -> Arrays:
        """A copy of all that the optimiser remembers between steps, in the framework's own layout."""
        ...

    def restore_optimizer(self, state: Arrays) -> None:
        """Take up what `optimizer_state` gave."""
        ...


class Framework(Protocol):
    """What each file in this folder offers as a module."""

    Trainer: type[Trainer]

    def export(
        self, spec: ModelSpec, weights: Mapping[str, FloatArray], resolution_px: int, format_: str, path: Path
    ) -> None:
        """Write the artifact's file or folder ``path``; input (batch, side, side, 3), any batch size."""
        ...

    def reload(self, format_: str, path: Path) -> Predict:
        """Load what `export` wrote, without the network's code."""
        ...


def load_framework(name: str) -> Framework:
    """The framework called ``name``, imported now; raises `RuntimeUnavailable` with the command that installs it."""
    if name not in FRAMEWORKS:
        raise InvalidSettings(f"no framework is called {name!r}; choose one of: {', '.join(FRAMEWORKS)}")
    entry = FRAMEWORKS[name]
    # Read when a card is opened: float32 is TensorFloat-32 there by default, in each framework for other layers.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    try:
        return import_module(entry.module)  # type: ignore[return-value]  # a module offers these names itself
    except ModuleNotFoundError as missing:
        raise RuntimeUnavailable(
            f"framework {name!r} needs the package {missing.name!r}. "
            f"Next: pip install -c constraints.txt -e '.[{entry.extra}]'"
        ) from missing
