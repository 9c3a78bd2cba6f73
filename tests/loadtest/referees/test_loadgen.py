from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contract.errors import RunInvalid
from loadtest.peers.wire import request_bytes
from loadtest.referees.loadgen import LoadGenCount, LoadGenPlan, LoadGenResult, read_summary, run_loadgen

COUNT = LoadGenCount(requests=750, failures=0)
SUMMARY = """SUT name : PySUT
Scenario : Server
Result is : {verdict}
  Performance constraints satisfied : {met}
  Min duration satisfied : Yes
Early Stopping Result:
 * Run unsuccessful.

Additional Stats
50.00 percentile latency (ns)   : 2224021
99.00 percentile latency (ns)   : 4021735
99.90 percentile latency (ns)   : 4049067
"""


def ask(url: str, folder: Path, scenario: str = "single_stream") -> LoadGenResult:
    pytest.importorskip("mlperf_loadgen", reason="the extra 'referee' is not installed")
    address = urlsplit(url)
    host, port = str(address.hostname), int(address.port or 80)
    plan = LoadGenPlan(host=host, port=port, scenario=scenario, rate_per_s=30.0, warmup_s=0.0, duration_s=1.5, seed=1)
    return run_loadgen(plan, request_bytes(host, port, "/v1/classify", "image/png", b"\x89PNG image"), folder)


@pytest.mark.parametrize("scenario", ["single_stream", "server"])
def test_a_known_service_time_is_reported(
    scenario: str, fake_service: Callable, truth_at: Callable, tmp_path: Path
) -> None:
    with fake_service(service_ms=10) as service:
        result = ask(service.url, tmp_path / "loadgen", scenario)
        truth = truth_at(service.url)
    assert result.p50_ns >= min(truth["service_ns"])
    assert result.count.failures == 0
    assert result.count.requests <= truth["requests"] == truth["ok"]  # those that warm up come on top
    assert result.said.startswith("Result is : ")


def test_every_failure_is_counted_once_and_ends_nothing(
    fake_service: Callable, truth_at: Callable, tmp_path: Path
) -> None:
    with fake_service(service_ms=5, faults={"3": "http_503", "5": "cut", "7": "reset", "9": "close"}) as service:
        result = ask(service.url, tmp_path / "loadgen")
        truth = truth_at(service.url)
    assert result.count.failures == 4
    assert result.count.requests - result.count.failures == truth["ok"] - 1  # one warms up


def test_a_verdict_is_quoted_with_what_was_not_met() -> None:
    assert read_summary(SUMMARY.format(verdict="VALID", met="Yes"), COUNT).said == "Result is : VALID"
    invalid = read_summary(SUMMARY.format(verdict="INVALID", met="NO"), COUNT)
    assert invalid.said == "Result is : INVALID; Performance constraints satisfied : NO"
    assert (invalid.p50_ns, invalid.p99_ns) == (2_224_021, 4_021_735)


@pytest.mark.parametrize("gone", ["Result is", "50.00", "99.00"])
def test_a_summary_without_verdict_or_percentiles_is_no_result(gone: str) -> None:
    lines = [line for line in SUMMARY.splitlines() if not line.startswith(gone)]
    with pytest.raises(RunInvalid, match="Next"):
        read_summary("\n".join(lines), COUNT)
