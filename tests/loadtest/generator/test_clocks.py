from __future__ import annotations

import time

import pytest

from loadtest.generator import clocks
from loadtest.generator.clocks import on_own_clock


def test_an_instant_of_the_wall_is_one_on_the_own_clock() -> None:
    before_ns, wall_ns, after_ns = time.perf_counter_ns(), time.time_ns(), time.perf_counter_ns()
    while after_ns - before_ns > 100_000:  # put aside in between
        before_ns, wall_ns, after_ns = time.perf_counter_ns(), time.time_ns(), time.perf_counter_ns()
    assert before_ns - 1_000_000 < on_own_clock(wall_ns) < after_ns + 1_000_000


def test_the_quickest_of_several_readings_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(900, 5_000), (10, 17), (800, 9_000), (20, 40), (700, 7_000)])
    monkeypatch.setattr(clocks, "_reading", lambda: next(readings))
    assert on_own_clock(1_000) == 1_017
