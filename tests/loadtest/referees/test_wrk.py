from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import RunInvalid
from loadtest.referees.wrk import read_report, run_wrk

# Every byte, so that one which the script could not carry would show.
BODY = b"\x89PNG" + bytes(range(256))


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_reports_a_known_service_time_and_counts_what_failed(
    fake_service: Callable, truth_at: Callable, tmp_path: Path
) -> None:
    with fake_service(service_ms=10, faults={"4": "http_503"}) as service:
        result = run_wrk(f"{service.url}/v1/classify", BODY, "image/png", tmp_path / "wrk", duration_s=0.5)
        truth = truth_at(service.url)
    assert result.p50_ns >= min(truth["service_ns"]) - 1_000  # whole microseconds
    assert result.failures == 1
    assert result.requests <= truth["requests"] <= result.requests + 1  # the last one is cut off


def test_a_wrk_that_wrote_no_report_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "wrk.log"
    log.write_text("unable to connect to 127.0.0.1:9 Connection refused\n")
    with pytest.raises(RunInvalid, match=r"(?s)unable to connect.*Next"):
        read_report(log)
