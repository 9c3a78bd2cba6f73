from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from contract.storage import read_json
from loadtest.generator.exchange import Reply
from loadtest.generator.ledger import OpenRequest
from loadtest.generator.offering import Offering
from loadtest.generator.payloads import Payload
from loadtest.generator.plan import TALLY_FILE, LoadTally

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
    due_ns = offering.next_arrival()
    assert due_ns is not None
    ending = gevent.spawn(offering.carry_out)
    gevent.sleep(LONG_S)
    assert not ending.dead
    offering.launch(due_ns, answering(offering))
    ending.get(timeout=PATIENCE_S)
    tally = tally_of(offering)
    assert (tally.started, tally.ok, tally.dropped, tally.complete) == (1, 1, 0, True)


def test_an_arrival_launched_after_its_step_was_dropped_with_it(make_plan: Callable) -> None:
    offering = Offering(make_plan(rate_per_s=20, arrivals="constant", duration_s=0.1, drain_s=0.01), (PAYLOAD,))
    due_ns = offering.next_arrival()
    assert due_ns is not None
    offering.carry_out()
    offering.launch(due_ns, answering(offering))
    tally = tally_of(offering)
    assert (tally.started, tally.dropped) == (0, tally.steps[0].due)
    assert tally.steps[0].dropped == tally.dropped > 0
