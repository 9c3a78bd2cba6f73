from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from loadtest.service.processes import last_lines, split_cores

core_sets = st.sets(st.integers(0, 63), min_size=2, max_size=32).map(sorted)


@given(core_sets, st.integers(1, 8))
def test_service_and_generator_never_share_a_core_where_there_are_two(cores: list[int], threads: int) -> None:
    split = split_cores(threads, cores)
    assert not set(split.service) & set(split.generator)
    assert set(split.service) | set(split.generator) <= set(cores)
    assert len(split.generator) == 1


@given(core_sets, st.integers(1, 8))
def test_the_service_gets_a_core_per_thread_as_far_as_there_are_any(cores: list[int], threads: int) -> None:
    assert len(split_cores(threads, cores).service) == min(threads, len(cores) - 1)


def test_a_single_core_is_shared() -> None:
    split = split_cores(1, [3])
    assert split.service == split.generator == (3,)


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert "printed nothing" in last_lines(log)
    log.write_bytes(b"first\n\nsecond \xff\nthird\n")
    assert "first" not in last_lines(log, lines=2)
    assert "third" in last_lines(log, lines=2)
