"""The judge of parity is itself judged: by loops that follow the definitions word by word."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.architecture import ConvNorm
from contract.reference import reference_logits


def convolved(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Cross-correlation with ``kernel // 2`` zeros on every side, by four loops."""
    size, _, channels, filters = kernel.shape
    pad = size // 2
    height, width = ((side + 2 * pad - size) // stride + 1 for side in x.shape[:2])
    out = np.zeros((height, width, filters))
    for row in range(height):
        for column in range(width):
            for i in range(size):
                for j in range(size):
                    y, z = row * stride + i - pad, column * stride + j - pad
                    if 0 <= y < x.shape[0] and 0 <= z < x.shape[1]:
                        out[row, column] += x[y, z] @ kernel[i, j]
    assert channels == x.shape[2]
    return out


def conv_norm(x: np.ndarray, weights, name: str, stride: int, relu: bool, epsilon: float) -> np.ndarray:
    part = {key: weights[f"{name}.{key}"].astype(float) for key in ("kernel", "scale", "shift", "mean", "variance")}
    y = convolved(x, part["kernel"], stride)
    y = part["scale"] * (y - part["mean"]) / np.sqrt(part["variance"] + epsilon) + part["shift"]
    return np.maximum(y, 0) if relu else y


@settings(max_examples=25, deadline=None)
@given(
    side=st.integers(1, 9),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 3),
    relu=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_a_convolution_is_what_its_definition_says(
    spec_of, weights_of, side: int, kernel: int, stride: int, relu: bool, seed: int
) -> None:
    spec = spec_of(ConvNorm(name="conv", filters=4, kernel_px=kernel, stride=stride, relu=relu))
    weights = weights_of(spec, seed)
    image = np.random.default_rng(seed).uniform(-1, 1, (side, side, 3)).astype(np.float32)
    y = conv_norm(image.astype(float), weights, "conv", stride, relu, spec.norm_epsilon)
    expected = y.mean(axis=(0, 1)) @ weights["head.kernel"] + weights["head.bias"]
    np.testing.assert_allclose(reference_logits(spec, weights, image[None])[0], expected, rtol=1e-5, atol=1e-6)


def test_a_network_with_both_kinds_of_residual_is_what_its_definition_says(spec_of, weights_of) -> None:
    spec = spec_of()
    weights = weights_of(spec)
    image = np.random.default_rng(3).uniform(-1, 1, (9, 9, 3)).astype(np.float32)

    def conv(x: np.ndarray, name: str, stride: int = 1, relu: bool = True) -> np.ndarray:
        return conv_norm(x, weights, name, stride, relu, spec.norm_epsilon)

    x = conv(image.astype(float), "stem")
    x = np.maximum(x + conv(x, "same.conv1", relu=False), 0)
    x = np.maximum(conv(x, "down.shortcut", 2, False) + conv(conv(x, "down.conv1", 2), "down.conv2", relu=False), 0)
    expected = x.mean(axis=(0, 1)) @ weights["head.kernel"] + weights["head.bias"]
    np.testing.assert_allclose(reference_logits(spec, weights, image[None])[0], expected, rtol=1e-5, atol=1e-6)


def test_shapes_inside_are_those_the_costs_announce(spec_of, weights_of) -> None:
    spec = spec_of(ConvNorm(name="conv", filters=7, stride=2))
    logits = reference_logits(spec, weights_of(spec), np.zeros((4, 11, 11, 3), np.float32))
    assert logits.shape == (4, *spec.costs(11)[-1].output_shape)
    assert logits.dtype == np.float32


def test_images_do_not_influence_each_other(spec_of, weights_of) -> None:
    spec = spec_of()
    weights = weights_of(spec)
    images = np.random.default_rng(4).uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
    together = reference_logits(spec, weights, images)
    alone = np.concatenate([reference_logits(spec, weights, image[None]) for image in images])
    np.testing.assert_array_equal(together, alone)


def test_epsilon_counts(spec_of, weights_of) -> None:
    weights = weights_of(spec_of())
    for name in [name for name in weights if name.endswith(".variance")]:
        weights[name] = np.zeros_like(weights[name])
    image = np.ones((1, 8, 8, 3), np.float32)
    small, large = (reference_logits(spec_of(norm_epsilon=e), weights, image) for e in (1e-5, 1e-3))
    assert np.isfinite(small).all()
    assert not np.allclose(small, large)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_weight_reaches_the_logits_instead_of_being_hidden(spec_of, weights_of, value: float) -> None:
    spec = spec_of()
    weights = weights_of(spec)
    weights["head.bias"][0] = value
    assert not np.isfinite(reference_logits(spec, weights, np.zeros((1, 8, 8, 3), np.float32))).all()
