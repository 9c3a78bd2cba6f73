"""Training, validation and test images at 7:1:2 per class, the same on every machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np

from contract.arrays import LabelArray
from contract.dataset import SPLITS

TENTHS = {"train": 7, "validation": 1, "test": 2}


def assign_splits(
    names: Sequence[str], labels: Sequence[int], *, seed: int, groups: Iterable[Sequence[str]] = ()
) -> LabelArray:
    """The split of every image, as an index into ``SPLITS``; shape (n,).

    The images of one group (copies of one another, all of one class) stay together;
    an image in no group stands for itself. The order that is cut at 7:1:2 is that of
    SHA-256 over seed and name: unlike a generator's stream it depends on no library
    version, and adding an image moves few others.
    """
    group_of = {name: tuple(sorted(group)) for group in groups for name in group}
    groups_of_class: dict[int, set[tuple[str, ...]]] = defaultdict(set)
    for name, label in zip(names, labels, strict=True):
        groups_of_class[label].add(group_of.get(name, (name,)))
    split_of: dict[str, int] = {}
    for members in groups_of_class.values():
        split_of |= _cut(sorted(members, key=lambda group: _shuffled_position(seed, group[0])))
    return np.array([split_of[name] for name in names], dtype=np.uint8)


def connected_groups(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The sets of names that ``pairs`` tie together, directly or through others."""
    group_of: dict[str, set[str]] = {}
    for first, second in pairs:
        merged = group_of.get(first, {first}) | group_of.get(second, {second})
        group_of |= dict.fromkeys(merged, merged)
    return sorted({tuple(sorted(group)) for group in group_of.values()})


def _cut(ordered: Sequence[tuple[str, ...]]) -> dict[str, int]:
    """Whole groups go where their first image falls."""
    total = sum(map(len, ordered))
    train_ends = _rounded_tenths(total, TENTHS["train"])
    validation_ends = _rounded_tenths(total, TENTHS["train"] + TENTHS["validation"])
    split_of: dict[str, int] = {}
    for group in ordered:
        position = len(split_of)
        split = "train" if position < train_ends else "validation" if position < validation_ends else "test"
        split_of |= dict.fromkeys(group, SPLITS.index(split))
    return split_of


def _rounded_tenths(total: int, tenths: int) -> int:
    return (total * tenths + 5) // 10


def _shuffled_position(seed: int, name: str) -> bytes:
    return sha256(f"{seed}/{name}".encode()).digest()
