from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import RunInvalid
from contract.records.journal import JournalWriter, read_journal
from contract.records.load import ABORTED, RequestRecord
from loadtest.generator.ledger import Ledger, OpenRequest
from loadtest.generator.payloads import Payload

PAYLOAD = Payload(image=7, expected=2, body=b"")


def settle(ledger: Ledger, request: OpenRequest, failure: str | None = None) -> None:
    answered = 2 if failure is None else None
    ledger.settle(request, finished_ns=9, status=200, answered=answered, failure=failure, parts_ns={"infer": 5})


@given(st.lists(st.sampled_from(["begin", "ok", "timeout", "http_503", "drop"]), max_size=60))
@pytest.mark.acceptance("D1")
def test_whatever_happens_every_request_is_counted_and_recorded_once(events: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.journal"
        ledger, waiting = Ledger(JournalWriter(path)), []
        for event in events:
            if event == "begin":
                waiting.append(ledger.begin(PAYLOAD, "measured", scheduled_ns=1))
            elif event == "drop":
                ledger.drop()
            elif waiting:
                settle(ledger, waiting.pop(0), None if event == "ok" else event)
        ledger.abort_open(now_ns=10)
        ledger.close()
        records = read_journal(path, RequestRecord).records
    assert ledger.in_flight == 0
    assert ledger.started == ledger.ok + ledger.failed + ledger.aborted == len(records) == events.count("begin")
    assert ledger.dropped == events.count("drop")
    assert ledger.ok == sum(record.ok for record in records)
    assert ledger.aborted == sum(record.failure == ABORTED for record in records)
    assert sorted(record.request for record in records) == list(range(len(records)))


def test_a_request_cannot_end_twice(tmp_path: Path) -> None:
    ledger = Ledger(JournalWriter(tmp_path / "requests.journal"))
    request = ledger.begin(PAYLOAD, "warmup", scheduled_ns=1)
    settle(ledger, request)
    with pytest.raises(RunInvalid, match="ended twice"):
        settle(ledger, request)
    ledger.close()


def test_a_request_whose_record_is_refused_is_not_counted_as_settled(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "requests.journal")
    ledger = Ledger(journal)
    request = ledger.begin(PAYLOAD, "measured", scheduled_ns=1)
    journal.close()  # every later write fails, as on a disk that is gone
    with pytest.raises(OSError, match="descriptor"):
        settle(ledger, request)
    assert (ledger.started, ledger.ok, ledger.in_flight) == (1, 0, 1)
