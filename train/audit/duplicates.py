"""Images of one split that are, nearly or to the byte, images of another; in any of the eight flips and turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from contract.arrays import FloatArray, ImageArray
from contract.dataset import SPLITS, Dataset
from contract.progress import Progress

SEEN_PX = 12  # images are compared at 12x12: a re-encoded copy stays a copy, and all pairs fit into half a minute
ROWS_AT_ONCE = 1024
NEAR_CORRELATION = 0.98
NEAR_RMS = 4.0  # grey levels of 255 at full size; a JPEG round trip at quality 75 leaves 1.5 to 6.4
TURNS = tuple((quarter, flipped) for flipped in (False, True) for quarter in range(4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two images of different splits, at the turn where they are most alike. ``rms`` is in grey levels of 255."""

    splits: tuple[str, str]
    positions: tuple[int, int]
    labels: tuple[str, str]
    quarter_turns: int
    flipped: bool
    correlation: float
    rms: float

    @property
    def is_copy(self) -> bool:
        """Whether they are near enough to be two files of one cell."""
        return self.rms <= NEAR_RMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """What was found among ``pairs_compared`` pairs: the most alike first."""

    pairs_compared: int
    exact: int
    candidates: tuple[Pair, ...]

    @property
    def copies(self) -> tuple[Pair, ...]:
        """The pairs that are near enough to be two files of one cell."""
        return tuple(pair for pair in self.candidates if pair.is_copy)


def find_duplicates(dataset: Dataset, progress: Progress) -> Duplicates:
    """Compare every image with every image of another split, at eight turns of one of them."""
    seen = {split: _standardised(dataset.images[dataset.indices(split)]) for split in SPLITS}
    sizes = [len(dataset.indices(split)) for split in SPLITS]
    total = sum(first * second for first, second in combinations(sizes, 2))
    done, candidates = 0, []
    for first, second in combinations(SPLITS, 2):
        rows, others = dataset.indices(second), dataset.indices(first)
        for start, block in _blocks(seen[second]):
            for row, column, turn, correlation in _alike(block, seen[first]):
                positions = int(others[column]), int(rows[start + row])
                candidates.append(_pair(dataset, (first, second), positions, turn, correlation))
            done += len(block) * len(others)
            progress(f"compare {second} with {first}", done, total)
    ordered = tuple(sorted(candidates, key=lambda pair: pair.rms))
    return Duplicates(pairs_compared=total, exact=sum(pair.rms == 0 for pair in ordered), candidates=ordered)


def _blocks(images: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    for start in range(0, len(images), ROWS_AT_ONCE):
        yield start, images[start : start + ROWS_AT_ONCE]


def _standardised(images: ImageArray) -> FloatArray:
    """Images at 12x12 (n, 12, 12, 3), mean taken out, of length one: their product is their correlation."""
    side = images.shape[1]
    edges = np.linspace(0, side, SEEN_PX + 1).round().astype(int)
    small = np.empty((len(images), SEEN_PX, SEEN_PX, 3), np.float32)
    for start in range(0, len(images), ROWS_AT_ONCE):
        chunk = images[start : start + ROWS_AT_ONCE].astype(np.float32)
        rows = np.add.reduceat(chunk, edges[:-1], axis=1)
        small[start : start + len(chunk)] = np.add.reduceat(rows, edges[:-1], axis=2)
    heights = np.diff(edges).astype(np.float32)
    small /= (heights[:, None] * heights[None, :])[None, :, :, None]
    small -= small.mean(axis=(1, 2, 3), keepdims=True)
    lengths = np.sqrt((small * small).sum(axis=(1, 2, 3), keepdims=True))
    return np.asarray(small / np.maximum(lengths, np.float32(1e-6)))


def _alike(block: FloatArray, others: FloatArray) -> Iterator[tuple[int, int, tuple[int, bool], float]]:
    """(row, column, turn, correlation) of the pairs above the threshold, at the turn where it is highest."""
    best: dict[tuple[int, int], tuple[float, tuple[int, bool]]] = {}
    columns = others.reshape(len(others), -1).T
    for turn in TURNS:
        correlations = turned(block, turn).reshape(len(block), -1) @ columns
        for row, column in np.argwhere(correlations >= NEAR_CORRELATION):
            place, value = (int(row), int(column)), float(correlations[row, column])
            best[place] = max(best.get(place, (0.0, turn)), (value, turn))
    for (row, column), (correlation, turn) in best.items():
        yield row, column, turn, correlation


def turned(images: FloatArray, turn: tuple[int, bool]) -> FloatArray:
    """``images`` (n, side, side, 3) by quarter turns, then perhaps flipped."""
    quarter, flipped = turn
    found = np.rot90(images, k=quarter, axes=(1, 2))
    return found[:, :, ::-1] if flipped else found


def _pair(
    dataset: Dataset, splits: tuple[str, str], positions: tuple[int, int], turn: tuple[int, bool], correlation: float
) -> Pair:
    first, second = (dataset.images[position][np.newaxis].astype(np.float32) for position in positions)
    difference = first - turned(second, turn)
    labels = tuple(dataset.facts.labels[dataset.labels[position]] for position in positions)
    return Pair(
        splits=splits,
        positions=positions,
        labels=(labels[0], labels[1]),
        quarter_turns=turn[0],
        flipped=turn[1],
        correlation=correlation,
        rms=float(np.sqrt(np.mean(difference * difference))),
    )
