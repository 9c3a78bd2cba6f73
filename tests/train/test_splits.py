"""Every image has one split, copies stay together, and the shares are 7:1:2."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contract.dataset import SPLITS
from train.splits import TENTHS, assign_splits, connected_groups

group_lengths = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=60), min_size=1, max_size=5)


def named_groups(lengths: list[list[int]]) -> tuple[list[str], list[int], list[tuple[str, ...]]]:
    """Names, labels and groups: ``lengths[label]`` are the lengths of the groups of that class."""
    names, labels, groups = [], [], []
    for label, of_class in enumerate(lengths):
        for number, length in enumerate(of_class):
            group = tuple(f"{label}/{number}-{copy}" for copy in range(length))
            names.extend(group)
            labels.extend([label] * length)
            groups.append(group)
    return names, labels, groups


@given(group_lengths, st.integers(0, 2**32))
def test_every_image_has_a_split_and_no_group_is_torn(lengths, seed):
    names, labels, groups = named_groups(lengths)
    splits = assign_splits(names, labels, seed=seed, groups=groups)
    split_of = dict(zip(names, splits.tolist(), strict=True))
    assert len(split_of) == len(names)
    assert set(splits.tolist()) <= set(range(len(SPLITS)))
    for group in groups:
        assert len({split_of[name] for name in group}) == 1


@given(group_lengths, st.integers(0, 2**32))
def test_shares_of_every_class_are_seven_one_two_within_rounding_and_a_group(lengths, seed):
    names, labels, groups = named_groups(lengths)
    splits = assign_splits(names, labels, seed=seed, groups=groups)
    for label, of_class in enumerate(lengths):
        counts = Counter(splits[np.array(labels) == label].tolist())
        for index, split in enumerate(SPLITS):
            wanted = TENTHS[split] * sum(of_class) / 10
            # Each of the two ends of a split is rounded to an image and moved by less than a group.
            assert abs(counts[index] - wanted) <= 1 + (max(of_class) - 1)


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_without_groups_the_cuts_are_the_nearest_image(count, seed):
    splits = assign_splits([f"{i}" for i in range(count)], [0] * count, seed=seed)
    train, validation, test = (int((splits == index).sum()) for index in range(3))
    half = 0.5 + 1e-9  # 0.7 has no exact double
    assert abs(train - 0.7 * count) <= half
    assert abs(train + validation - 0.8 * count) <= half
    assert train + validation + test == count


@given(group_lengths, st.randoms())
def test_the_order_of_the_images_does_not_matter(lengths, random):
    names, labels, groups = named_groups(lengths)
    expected = dict(zip(names, assign_splits(names, labels, seed=3, groups=groups).tolist(), strict=True))
    order = random.sample(range(len(names)), len(names))
    shuffled = [names[i] for i in order]
    random.shuffle(groups)
    splits = assign_splits(shuffled, [labels[i] for i in order], seed=3, groups=groups)
    assert dict(zip(shuffled, splits.tolist(), strict=True)) == expected


def test_the_split_is_the_same_on_every_machine_and_in_every_release():
    splits = assign_splits([f"cell-{i}" for i in range(10)], [0] * 10, seed=0)
    assert splits.tolist() == [0, 0, 1, 0, 2, 0, 0, 2, 0, 0]


def test_another_seed_gives_another_split():
    names, labels = [f"cell-{i}" for i in range(100)], [0] * 100
    assert (assign_splits(names, labels, seed=0) != assign_splits(names, labels, seed=1)).any()


def test_pairs_that_share_a_file_form_one_group():
    pairs = [("a", "b"), ("c", "d"), ("b", "e"), ("d", "c"), ("f", "e")]
    assert connected_groups(pairs) == [("a", "b", "e", "f"), ("c", "d")]
