"""Answers at once: what is left of a request's time belongs to the service, not to a model."""

from __future__ import annotations

import numpy as np

from contract.arrays import FloatArray
from contract.blood_cells import LABELS
from contract.manifest import Artifact
from serving.inference.devices import Device


class NullModel:
    """The same logits for every image: the first class, hardly."""

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes) that do not depend on ``images``."""
        logits = np.zeros((len(images), len(LABELS)), np.float32)
        logits[:, 0] = 1
        return logits


class NullRuntime:
    """Loads nothing and runs nothing."""

    name = "null"

    def __init__(self, device: Device, threads: int) -> None:
        self._threads = threads

    def load(self, artifact: Artifact) -> NullModel:
        """A model that never looks at ``artifact``."""
        return NullModel()

    def compilations(self) -> int:
        """None: there is nothing to compile."""
        return 0

    def describe(self) -> dict[str, str]:
        """That nothing is computed."""
        return {"library": f"numpy {np.__version__}", "device": "none", "threads": "0"}
