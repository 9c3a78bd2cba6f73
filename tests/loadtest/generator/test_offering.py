from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from contract.errors import RunInvalid
from contract.records.load import StepOutcome
from contract.storage import read_json
from contract.timing import NS_PER_S
from loadtest.generator import workers
from loadtest.generator.exchange import Reply
from loadtest.generator.ledger import OpenRequest
from loadtest.generator.offering import Offering
from loadtest.generator.payloads import Payload
from loadtest.generator.plan import TALLY_FILE, LoadTally
from loadtest.generator.workers import Agreement

PAYLOAD = Payload(image=7, expected=2, body=b"")
LONG_S = 0.1  # several looks of the end at what is still out
PATIENCE_S = 30.0


def answering(offering: Offering) -> Callable[[OpenRequest], None]:
    """A service that answers at once."""

    def fire(request: OpenRequest) -> None:
        offering.sending(request)
        reply = Reply(
            finished_ns=request.sent_ns + 1, status=200, length_bytes=1, answered=2, failure=None, parts_ns={}
        )
        offering.settle(request, reply)

    return fire


class Told:
    """A crew whose first step begins so long after all are ready."""

    def __init__(self, ahead_ns: int) -> None:
        self.ahead_ns = ahead_ns
        self.begins_ns = 0

    def assemble(self) -> int:
        self.begins_ns = time.perf_counter_ns() + self.ahead_ns
        return self.begins_ns

    def agree(self, outcome: StepOutcome) -> Agreement:
        return Agreement(outcome=outcome)


def tally_of(offering: Offering) -> LoadTally:
    offering.close()
    return read_json(Path(offering.plan.record_to) / TALLY_FILE, LoadTally)


@pytest.mark.parametrize(
    "load",
    [
        {"kind": "offline", "requests": 1, "duration_s": PATIENCE_S},
        {"rate_per_s": 100, "arrivals": "constant", "duration_s": 0.01},
    ],
    ids=["offline", "by schedule"],
)
def test_a_step_lasts_until_the_arrival_in_a_users_hands_is_launched(load: dict, make_plan: Callable) -> None:
    """Between taking an arrival and launching it a user may wait, and no request is out meanwhile."""
    offering = Offering(make_plan(**load, drain_s=PATIENCE_S), (PAYLOAD,))
    ending = gevent.spawn(offering.carry_out)
    assert offering.wait_for_step()
    due_ns = offering.next_arrival()
    assert due_ns is not None
    gevent.sleep(LONG_S)
    assert not ending.dead
    offering.launch(due_ns, answering(offering))
    ending.get(timeout=PATIENCE_S)
    tally = tally_of(offering)
    assert (tally.started, tally.ok, tally.dropped, tally.complete) == (1, 1, 0, True)


def test_an_arrival_launched_after_its_step_was_dropped_with_it(make_plan: Callable) -> None:
    offering = Offering(make_plan(rate_per_s=20, arrivals="constant", duration_s=0.1, drain_s=0.01), (PAYLOAD,))
    ending = gevent.spawn(offering.carry_out)
    assert offering.wait_for_step()
    due_ns = offering.next_arrival()
    assert due_ns is not None
    ending.get(timeout=PATIENCE_S)
    offering.launch(due_ns, answering(offering))
    tally = tally_of(offering)
    assert (tally.started, tally.dropped) == (0, tally.steps[0].due)
    assert tally.steps[0].dropped == tally.dropped > 0


@pytest.mark.parametrize("load", [{}, {"rate_per_s": 100, "arrivals": "constant"}], ids=["closed loop", "by schedule"])
def test_nothing_is_sent_before_the_instant_that_was_agreed_on(load: dict, make_plan: Callable) -> None:
    crew = Told(ahead_ns=NS_PER_S // 5)
    offering = Offering(make_plan(**load), (PAYLOAD,), crew=crew)
    assert offering.next_arrival() is None
    ending = gevent.spawn(offering.carry_out)
    if offering.is_scheduled:
        assert offering.wait_for_step()
        assert offering.next_arrival() == crew.begins_ns
    else:
        request = offering.next_in_closed_loop()
        assert request is not None
        assert request.scheduled_ns >= crew.begins_ns > 0
    offering.close()
    ending.get(timeout=PATIENCE_S)
    assert tally_of(offering).late_ns == 0


def test_a_closed_loop_that_is_stopped_before_it_begins_lets_its_users_go(make_plan: Callable) -> None:
    offering = Offering(make_plan(), (PAYLOAD,))
    user = gevent.spawn(offering.next_in_closed_loop)
    gevent.sleep(0)
    offering.close()
    assert user.get(timeout=PATIENCE_S) is None


def test_a_worker_that_begins_late_breaks_off_and_says_so(make_plan: Callable) -> None:
    offering = Offering(make_plan(rate_per_s=100), (PAYLOAD,), crew=Told(ahead_ns=-NS_PER_S))
    offering.carry_out()
    assert isinstance(offering.error, RunInvalid)
    assert "ms late" in str(offering.error)
    assert not tally_of(offering).complete


def test_how_late_a_worker_began_is_recorded(make_plan: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LATEST_NS", 3600 * NS_PER_S)
    offering = Offering(make_plan(), (PAYLOAD,), crew=Told(ahead_ns=-NS_PER_S))
    offering.carry_out()
    tally = tally_of(offering)
    assert (tally.complete, tally.late_ns >= NS_PER_S) == (True, True)
