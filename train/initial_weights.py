"""Where every framework starts: weights drawn once, by NumPy."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from contract.architecture import ModelSpec
from contract.arrays import FloatArray
from contract.weights import Weights


def initial_weights(spec: ModelSpec, seed: int) -> Weights:
    """He's normal initialisation for kernels, ones and zeros for batch norm.

    Source: He, Zhang, Ren, Sun, arXiv 1502.01852. The frameworks' own defaults differ
    (Glorot uniform, Kaiming uniform, LeCun normal), which would make three networks of one.
    """
    rng = np.random.default_rng(seed)
    return {name: _initial(name, shape, rng) for name, shape in spec.parameter_shapes().items()}


def _initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    if name.endswith(".kernel"):
        deviation = sqrt(2 / prod(shape[:-1]))
        return rng.normal(0, deviation, shape).astype(np.float32)
    return np.full(shape, 1 if name.endswith((".scale", ".variance")) else 0, np.float32)
