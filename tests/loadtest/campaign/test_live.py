from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.records.journal import JournalWriter
from contract.records.load import REQUESTS_FILE, Phase, RequestRecord
from loadtest.campaign.live import LiveTimes

TEMPORARY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def request(response_time_ns: int, *, phase: Phase = "measured", failure: str | None = None) -> RequestRecord:
    return RequestRecord(
        request=0,
        phase=phase,
        image=0,
        expected=0,
        scheduled_ns=1_000,
        sent_ns=1_000,
        finished_ns=1_000 + response_time_ns,
        status=200,
        answered=0,
        failure=failure,
        parts_ns={},
    )


def test_nothing_is_said_before_the_first_answer(tmp_path: Path) -> None:
    assert LiveTimes(tmp_path).words_at(5.0) == ""


def test_times_below_a_millisecond_are_seen(tmp_path: Path) -> None:
    live = LiveTimes(tmp_path)
    with JournalWriter(tmp_path / REQUESTS_FILE) as journal:
        for number in range(1, 1_001):
            journal.append(request(number * 1_000))
    assert live.words_at(1.0) == "1,000 answers, p50 0.50 ms, p99 0.99 ms"


def test_warm_up_is_left_out_and_failures_are_counted_apart(tmp_path: Path) -> None:
    live = LiveTimes(tmp_path)
    with JournalWriter(tmp_path / REQUESTS_FILE) as journal:
        journal.append(request(900_000_000, phase="warmup"))
        journal.append(request(2_000_000))
        journal.append(request(5, failure="timeout"))
    assert live.words_at(1.0) == "1 answers, p50 2.00 ms, p99 2.00 ms, 1 failures"


def test_words_are_renewed_once_a_second(tmp_path: Path) -> None:
    live = LiveTimes(tmp_path)
    with JournalWriter(tmp_path / REQUESTS_FILE) as journal:
        journal.append(request(1_000_000))
        first = live.words_at(1.0)
        journal.append(request(1_000_000))
        assert live.words_at(1.9) == first
        assert live.words_at(2.0).startswith("2 answers")


def test_all_workers_are_taken_together(tmp_path: Path) -> None:
    for index, time_ms in enumerate((1, 3)):
        with JournalWriter(tmp_path / f"worker-{index}" / REQUESTS_FILE) as journal:
            journal.append(request(time_ms * 1_000_000))
    assert LiveTimes(tmp_path, workers=2).words_at(1.0) == "2 answers, p50 1.00 ms, p99 3.00 ms"


@TEMPORARY
@given(times_us=st.lists(st.integers(1, 3_600_000_000), min_size=1, max_size=40))
def test_the_median_is_within_three_digits_of_the_raw_one(
    times_us: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    with JournalWriter(folder / REQUESTS_FILE) as journal:
        for time_us in times_us:
            journal.append(request(time_us * 1_000))
    shown = float(LiveTimes(folder).words_at(1.0).partition("p50 ")[2].partition(" ms")[0])
    lower = sorted(times_us)[(len(times_us) - 1) // 2] / 1_000
    assert shown == pytest.approx(lower, rel=2e-3, abs=0.006)
