from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.load.judging.stationarity import windows_of
from analysis.load.runs import load_run, requests_of
from analysis.load.summary import summarise


def requests_with(build, factors: tuple[float, ...], each: int = 200):
    """Requests whose three thirds are slower by ``factors``."""
    parts = [build.records(build.cell(), requests=each, warmup=0, slower=factor) for factor in factors]
    return requests_of([record for part in parts for record in part])


@pytest.mark.parametrize(
    ("factors", "steady"), [((1, 1, 1), True), ((1, 1.02, 1), True), ((1, 1, 2), False), ((2, 1, 1), False)]
)
def test_three_windows_are_steady_within_a_tenth_of_their_mean(build, factors, steady: bool) -> None:
    windows = windows_of(requests_with(build, factors))
    assert windows is not None
    assert windows.steady == steady
    assert len(windows.p50_ns) == 3


def test_windows_with_too_few_requests_say_nothing(build) -> None:
    assert windows_of(requests_with(build, (1, 1, 1), each=2)) is None


def test_every_cell_of_a_summary_has_the_flag_and_it_is_no_verdict(build, tmp_path: Path) -> None:
    summary = summarise(load_run(build.write(tmp_path, requests=120)))
    assert all(cell.windows is not None and np.isfinite(cell.windows.p50_ns).all() for cell in summary.cells)
    assert {cell.verdict.status for cell in summary.cells} == {"valid"}
