"""Convolutions written as sums and products, for a compiler whose own routine for them is slow on a processor.

No framework is imported: ``arrays`` is ``jax.numpy``, ``tensorflow`` or whatever else has their ``pad``, ``reshape``,
``stack`` and ``matmul``. What comes out is the same sum in another order, within rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from contract.arrays import FloatArray

REWRITTEN = "sums, and Winograd's F(2 x 2, 3 x 3), where they are faster"
Array = Any  # of the framework behind ``arrays``

SIDE = 3
FEW_CHANNELS = 4  # an image's: a product that sums over so little is bound by copying its operands
MANY_CHANNELS = 64  # from here on fewer multiplications outweigh the transforms around them

# F(2 x 2, 3 x 3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), section 4.1:
# tiles of 4 x 4 inputs, 16 multiplications for 4 outputs where the definition takes 36.
TILE, STEP = 4, 2
OF_INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
OF_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
OF_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))


def rewritten(images: Array, kernel: FloatArray, arrays: Any) -> Array | None:
    """A 3 x 3 convolution at stride 1, padded by one, of ``images`` (n, height, width, channels); all sizes known.

    None where the framework's own routine does well: between `FEW_CHANNELS` and `MANY_CHANNELS`.
    """
    channels = kernel.shape[2]
    if channels <= FEW_CHANNELS:
        return _as_sums(images, kernel, arrays)
    return as_products(images, of_products(kernel), arrays) if channels >= MANY_CHANNELS else None


def is_rewritable(kernel: FloatArray, strides: Sequence[int], padding: Sequence[Sequence[int]]) -> bool:
    """Whether ``kernel`` (height, width, in, out) makes a convolution of the one kind that `rewritten` knows."""
    ones = [(1, 1), (1, 1)]
    return kernel.shape[:2] == (SIDE, SIDE) and tuple(strides) == (1, 1) and [tuple(p) for p in padding] == ones


def _as_sums(images: Array, kernel: FloatArray, arrays: Any) -> Array:
    """A term for every number of an output's patch: the compiler makes one loop of them, and of what follows."""
    _, height, width, channels = images.shape
    padded = arrays.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    total = 0.0
    for row, column, channel in np.ndindex(SIDE, SIDE, channels):
        patch = padded[:, row : row + height, column : column + width, channel : channel + 1]
        total = total + patch * kernel[row, column, channel]
    return total


def as_products(images: Array, kernel: Array, arrays: Any) -> Array:
    """Winograd's algorithm: one product for each of a tile's 16 places, over all tiles; ``kernel`` by `of_products`."""
    count, height, width, channels = images.shape
    filters = kernel.shape[2]
    rows, columns = -(-height // STEP), -(-width // STEP)
    edges = [[1, 1 + STEP * rows - height], [1, 1 + STEP * columns - width]]
    padded = arrays.pad(images, [[0, 0], *edges, [0, 0]])
    places = [
        [padded[:, i : i + STEP * rows : STEP, j : j + STEP * columns : STEP] for j in range(TILE)] for i in range(TILE)
    ]
    inputs = [arrays.reshape(place, (-1, channels)) for line in _both_ways(OF_INPUT, places) for place in line]
    products = arrays.matmul(arrays.stack(inputs), kernel)
    products = arrays.reshape(products, (TILE, TILE, count, rows, columns, filters))
    outputs = _both_ways(OF_OUTPUT, [[products[i, j] for j in range(TILE)] for i in range(TILE)])
    side_by_side = arrays.stack([arrays.stack(line, 3) for line in outputs], 2)
    grid = arrays.reshape(side_by_side, (count, STEP * rows, STEP * columns, filters))
    return grid[:, :height, :width]


def of_products(kernel: FloatArray) -> FloatArray:
    """A kernel (3, 3, in, out) as the (16, in, out) that `as_products` takes.

    In double precision until it is done: it is settled once, when the model is loaded.
    """
    matrix = np.array(OF_KERNEL)
    transformed = np.einsum("ai,ijcf,bj->abcf", matrix, kernel.astype(np.float64), matrix)
    result: FloatArray = transformed.reshape(TILE * TILE, *kernel.shape[2:]).astype(np.float32)
    return result


def _both_ways(matrix: Sequence[Sequence[int]], places: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """``matrix @ places @ matrix.T``, where every place is an array."""
    down = [[_combined(weights, column) for column in zip(*places, strict=True)] for weights in matrix]
    return [[_combined(weights, line) for weights in matrix] for line in down]


def _combined(weights: Sequence[int], terms: Sequence[Array]) -> Array:
    """The sum of ``terms``, each taken once, taken away once, or left out."""
    added = [term for weight, term in zip(weights, terms, strict=True) if weight == 1]
    removed = [term for weight, term in zip(weights, terms, strict=True) if weight == -1]
    total = added[0]
    for term in added[1:]:
        total = total + term
    for term in removed:
        total = total - term
    return total
