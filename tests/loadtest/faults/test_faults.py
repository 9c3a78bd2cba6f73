"""Between generator and service something goes wrong: a failure with a name, counted once, and nobody hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contract.records.journal import read_journal
from contract.records.load import REQUESTS_FILE, RequestRecord
from loadtest.generator.launch import offer
from loadtest.generator.plan import LoadPlan

PROXY = Path(__file__).with_name("fault_proxy.py")
TIMEOUT_S = 2.0  # far more than a good answer takes on a busy machine, and less than 3 kB at 1 kB/s
LATENCY_NS = 200_000_000  # of the proxy


@contextmanager
def proxy_before(url: str, faults: dict[str, str]) -> Iterator[str]:
    """The address of a proxy that spoils some answers of the service at ``url``."""
    command = [sys.executable, str(PROXY), "--to", str(urlsplit(url).port), "--faults", json.dumps(faults)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def records_of(plan: LoadPlan) -> dict[int, RequestRecord]:
    journal = read_journal(Path(plan.record_to) / REQUESTS_FILE, RequestRecord)
    assert not journal.torn
    records = {record.request: record for record in journal.records}
    assert len(records) == len(journal.records)  # none was recorded twice
    return records


def test_each_fault_of_the_network_is_one_failure_with_its_name(
    fake_service: Callable, make_plan: Callable, truth_at: Callable
) -> None:
    faults = {"2": "cut", "4": "reset", "6": "garbage", "8": "slow", "10": "latency"}
    # An open loop sends its requests whatever became of those before.
    plan = make_plan(rate_per_s=8, arrivals="constant", duration_s=2.5, timeout_s=TIMEOUT_S, drain_s=6.0)
    with fake_service(service_ms=1, pad_bytes=3_000) as service, proxy_before(service.url, faults) as url:
        tally = offer(url, plan)
        truth = truth_at(service.url)
    records = records_of(plan)
    failures = Counter(record.failure for record in records.values() if not record.ok)
    assert failures == {"connection_lost": 2, "bad_answer": 1, "timeout": 1}
    late = [record for record in records.values() if record.ok and record.round_trip_time_ns > LATENCY_NS]
    assert late  # late is not lost, and shows in its time
    assert (tally.failed, tally.aborted, tally.dropped, tally.complete) == (4, 0, 0, True)
    assert tally.started == tally.ok + tally.failed == truth["requests"] == len(records)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [("cut", "connection_lost"), ("reset", "connection_lost"), ("garbage", "bad_answer"), ("slow", "timeout")],
)
def test_a_network_that_spoils_every_answer_hangs_nobody(
    fault: str, failure: str, fake_service: Callable, make_plan: Callable, truth_at: Callable
) -> None:
    faults = {str(number): fault for number in range(1_000)}
    plan = make_plan(users=2, duration_s=0.5, timeout_s=TIMEOUT_S)
    with fake_service(service_ms=20, pad_bytes=3_000) as service, proxy_before(service.url, faults) as url:
        tally = offer(url, plan)
        truth = truth_at(service.url)
    assert {record.failure for record in records_of(plan).values()} == {failure}
    assert tally.ok == 0
    assert tally.started == tally.failed + tally.aborted == truth["requests"] > 0
