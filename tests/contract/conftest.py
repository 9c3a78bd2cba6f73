"""Builders of the contract's values, each with defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from contract.architecture import ConvNorm, Dense, GlobalAveragePool, Layer, ModelSpec, Residual
from contract.weights import Weights


def make_spec(*body: Layer, classes: int = 3, **changes: Any) -> ModelSpec:
    """A small network; its defaults hold every kind of layer, with and without a shortcut."""
    layers = body or (
        ConvNorm(name="stem", filters=4),
        Residual(name="same", body=(ConvNorm(name="same.conv1", filters=4, relu=False),)),
        Residual(
            name="down",
            body=(
                ConvNorm(name="down.conv1", filters=5, stride=2),
                ConvNorm(name="down.conv2", filters=6, relu=False),
            ),
            shortcut=ConvNorm(name="down.shortcut", filters=6, kernel_px=1, stride=2, relu=False),
        ),
    )
    facts: dict[str, Any] = {"name": "small"}
    return ModelSpec(
        layers=(*layers, GlobalAveragePool(name="pool"), Dense(name="head", units=classes)), **facts | changes
    )


def make_weights(spec: ModelSpec, seed: int = 0) -> Weights:
    """Random float32 arrays of the right shapes; variances are positive."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.uniform(0.5, 2.0, shape) if name.endswith(".variance") else rng.normal(0, 0.3, shape)).astype(
            np.float32
        )
        for name, shape in spec.parameter_shapes().items()
    }


@pytest.fixture(scope="session")
def spec_of() -> Callable[..., ModelSpec]:
    return make_spec


@pytest.fixture(scope="session")
def weights_of() -> Callable[..., Weights]:
    return make_weights
