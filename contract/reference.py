"""The network in NumPy, float64, one image at a time: slow, plain, and the judge of parity.

It shares no code with any framework, so that no framework is its own referee.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from contract.architecture import ConvNorm, Dense, GlobalAveragePool, Layer, ModelSpec, Residual
from contract.arrays import FloatArray

Float64Array = NDArray[np.float64]


def reference_logits(spec: ModelSpec, weights: Mapping[str, FloatArray], images: FloatArray) -> FloatArray:
    """Logits (batch, classes) of ``images`` (batch, side, side, channels) in [-1, 1], computed in float64."""
    exact = {name: array.astype(np.float64) for name, array in weights.items()}
    logits = [_forward(spec, exact, image.astype(np.float64)) for image in images]
    return np.stack(logits).astype(np.float32)


def _forward(spec: ModelSpec, weights: Mapping[str, Float64Array], image: Float64Array) -> Float64Array:
    for layer in spec.layers:
        image = _apply(layer, spec, weights, image)
    return image


def _apply(layer: Layer, spec: ModelSpec, weights: Mapping[str, Float64Array], x: Float64Array) -> Float64Array:
    match layer:
        case ConvNorm():
            return _conv_norm(layer, spec, weights, x)
        case Residual():
            body = x
            for conv in layer.body:
                body = _conv_norm(conv, spec, weights, body)
            added = x if layer.shortcut is None else _conv_norm(layer.shortcut, spec, weights, x)
            return np.maximum(added + body, 0)
        case GlobalAveragePool():
            pooled: Float64Array = x.mean(axis=(0, 1))
            return pooled
        case Dense():
            return x @ weights[f"{layer.name}.kernel"] + weights[f"{layer.name}.bias"]


def _conv_norm(conv: ConvNorm, spec: ModelSpec, weights: Mapping[str, Float64Array], x: Float64Array) -> Float64Array:
    pad = conv.padding_px
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    windows = sliding_window_view(padded, (conv.kernel_px, conv.kernel_px), axis=(0, 1))
    windows = windows[:: conv.stride, :: conv.stride]  # (height, width, in, kernel, kernel)
    y = np.tensordot(windows, weights[f"{conv.name}.kernel"], axes=((3, 4, 2), (0, 1, 2)))
    deviation = np.sqrt(weights[f"{conv.name}.variance"] + spec.norm_epsilon)
    y = (y - weights[f"{conv.name}.mean"]) / deviation * weights[f"{conv.name}.scale"] + weights[f"{conv.name}.shift"]
    return np.maximum(y, 0) if conv.relu else y
