"""One load plan being carried out: which request is next, which are under way, and when it is over.

Runs inside Locust, on gevent's one thread, but knows nothing of Locust.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import gevent
import numpy as np
from gevent.event import Event
from gevent.pool import Pool
from numpy.typing import NDArray

from contract.journal import JournalWriter
from contract.records import REQUESTS_FILE, Phase
from contract.storage import write_json
from loadtest.exchange import Reply
from loadtest.ledger import Ledger, OpenRequest
from loadtest.payloads import Payload
from loadtest.plan import TALLY_FILE, LoadPlan, LoadTally
from loadtest.scenarios import NS_PER_S, OPEN_LOOP, arrivals_of

_SETTLING_S = 0.01  # how often the end looks for answers that are still out

Fire = Callable[[OpenRequest], None]


class Offering:
    """Hands out the requests of ``plan`` and records what becomes of them.

    Users call `next_in_closed_loop`, or `next_arrival` and `launch`; one greenlet calls
    `wait_for_end`; `close` may be called by anybody, more than once. ``error`` holds
    what ended it before its time.
    """

    def __init__(self, plan: LoadPlan, payloads: tuple[Payload, ...]) -> None:
        self.plan = plan
        self.error: BaseException | None = None
        self._payloads = payloads
        self._folder = Path(plan.record_to)
        self._ledger = Ledger(JournalWriter(self._folder / REQUESTS_FILE))
        self._pool = Pool(plan.in_flight_limit)
        self._cut_short = Event()
        self._closed = self._complete = False
        self._next_arrival = 0
        self._start_clock()

    def _start_clock(self) -> None:
        scenario = self.plan.scenario
        relative = arrivals_of(scenario) if scenario.kind == OPEN_LOOP else np.empty(0, dtype=np.int64)
        self._cpu_ns = time.process_time_ns()
        self._began_ns = time.perf_counter_ns()
        self._measured_from_ns = self._began_ns + round(scenario.warmup_s * NS_PER_S)
        self._end_ns = self._measured_from_ns + round(scenario.duration_s * NS_PER_S)
        self._arrivals_ns: NDArray[np.int64] = relative + self._began_ns

    @property
    def is_open_loop(self) -> bool:
        """Whether requests follow a schedule; otherwise each user waits for the answer before."""
        return self.plan.scenario.kind == OPEN_LOOP

    def next_in_closed_loop(self) -> OpenRequest | None:
        """A request to send at once; None when the load is over."""
        now_ns = time.perf_counter_ns()
        if self._closed or now_ns >= self._end_ns:
            return None
        return self._begin(now_ns)

    def next_arrival(self) -> int | None:
        """When the next request is due, on the clock of ``perf_counter_ns``; None when there is none left.

        Each instant is handed out once, however many users ask.
        """
        if self._closed or self._next_arrival == len(self._arrivals_ns):
            return None
        due_ns = int(self._arrivals_ns[self._next_arrival])
        self._next_arrival += 1
        return due_ns

    def launch(self, due_ns: int, fire: Fire) -> None:
        """Start the request that was due at ``due_ns`` beside the others, or drop it when too many are in flight."""
        if self._closed:
            return
        if self._pool.full():
            self._ledger.drop()
            return
        self._pool.spawn(fire, self._begin(due_ns)).link_exception(self._crashed)

    def sending(self, request: OpenRequest) -> None:
        """Note that ``request`` goes out now; in a closed loop that is also when it was meant to."""
        request.sent_ns = time.perf_counter_ns()
        if not self.is_open_loop:
            request.scheduled_ns = request.sent_ns

    def settle(self, request: OpenRequest, reply: Reply) -> None:
        """Record how ``request`` ended. A disk that refuses the record ends the load."""
        if self._closed:
            return  # it has been recorded as aborted
        try:
            self._ledger.settle(
                request,
                finished_ns=reply.finished_ns,
                status=reply.status,
                answered=reply.answered,
                failure=reply.failure,
                parts_ns=reply.parts_ns,
            )
        except OSError as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the load before its time; the first error is kept."""
        self.error = self.error or error
        self._cut_short.set()

    def wait_for_end(self) -> None:
        """Return when every request is sent and settled, when the time to wait for answers is up, or at `fail`."""
        if self._cut_short.wait((self._end_ns - time.perf_counter_ns()) / NS_PER_S):
            return
        deadline_ns = self._end_ns + round(self.plan.drain_s * NS_PER_S)
        while self._is_busy() and time.perf_counter_ns() < deadline_ns:
            if self._cut_short.wait(_SETTLING_S):
                return
        self._complete = True

    def close(self) -> None:
        """Abort what is in flight and write the tally; raises ``OSError`` when the disk refuses."""
        if self._closed:
            return
        self._closed = True
        self._pool.kill()
        if self._complete:
            for _ in self._arrivals_ns[self._next_arrival :]:
                self._ledger.drop()
        tally = self._tally(time.perf_counter_ns())
        self._ledger.close()
        write_json(self._folder / TALLY_FILE, tally)

    def _tally(self, now_ns: int) -> LoadTally:
        share = (time.process_time_ns() - self._cpu_ns) / max(now_ns - self._began_ns, 1)
        if self.error is None:
            self._ledger.abort_open(now_ns)
        ledger = self._ledger
        return LoadTally(
            started=ledger.started,
            ok=ledger.ok,
            failed=ledger.failed,
            aborted=ledger.aborted,
            dropped=ledger.dropped,
            cpu_share=share,
            complete=self._complete,
        )

    def _begin(self, scheduled_ns: int) -> OpenRequest:
        payload = self._payloads[self._ledger.started % len(self._payloads)]
        phase: Phase = "warmup" if scheduled_ns < self._measured_from_ns else "measured"
        return self._ledger.begin(payload, phase, scheduled_ns)

    def _is_busy(self) -> bool:
        return self._ledger.in_flight > 0 or self._next_arrival < len(self._arrivals_ns)

    def _crashed(self, greenlet: gevent.Greenlet) -> None:
        self.fail(greenlet.exception)
