from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.progress import counted, part_of

Heard = list[tuple[str, float, float]]


def hearing(heard: Heard):
    return lambda what, done, total: heard.append((what, done, total))


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_parts_one_after_the_other_make_one_progress_that_never_falls(sizes: list[int]) -> None:
    heard: Heard = []
    for number, size in enumerate(sizes):
        part = part_of(hearing(heard), number, 1, len(sizes), f"part {number}: ")
        assert list(counted(range(size), part, "step")) == list(range(size))
        part("over", size, size)
    done = [one[1] for one in heard]
    assert done == sorted(done)
    assert done[-1] == len(sizes)
    assert {one[2] for one in heard} == {len(sizes)}
    assert heard[-1][0] == f"part {len(sizes) - 1}: over"


def test_a_count_is_told_before_each_thing_is_begun() -> None:
    heard: Heard = []
    begun = counted(["a", "b"], hearing(heard), "read")
    assert heard == []
    assert next(begun) == "a"
    assert heard == [("read", 0, 2)]
    assert [*begun] == ["b"]
    assert heard[-1] == ("read", 1, 2)


@pytest.mark.parametrize("share", [1, 3])
def test_a_piece_without_steps_is_done_at_once(share: int) -> None:
    heard: Heard = []
    part_of(hearing(heard), 2, share, 10)("nothing", 0, 0)
    assert heard == [("nothing", 2 + share, 10)]
