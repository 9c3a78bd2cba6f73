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

from contract.errors import HemaBenchError
from contract.records.journal import JournalWriter
from contract.records.load import REQUESTS_FILE, Phase, StepOutcome
from contract.storage import write_json
from contract.timing import NS_PER_S
from loadtest.generator.exchange import Reply
from loadtest.generator.ledger import Ledger, OpenRequest
from loadtest.generator.payloads import Payload
from loadtest.generator.plan import TALLY_FILE, LoadPlan, LoadTally
from loadtest.generator.workers import ALL, Alone, Crew, Share, require_punctual
from loadtest.scenarios import CLOSED_LOOP, arrivals_of
from loadtest.steps import Step, next_step

_SETTLING_S = 0.01  # how often the end looks for answers that are still out

Fire = Callable[[OpenRequest], None]


class Offering:
    """Hands out the requests of ``plan`` and records what becomes of them.

    Users call `next_in_closed_loop`, or `next_arrival`, `launch` and `wait_for_step`; one
    greenlet calls `carry_out`, and until that has begun they wait; `close` may be called by anybody,
    more than once. ``error`` holds what ended it before its time. ``crew`` is who offers the load together.
    """

    def __init__(
        self, plan: LoadPlan, payloads: tuple[Payload, ...], *, share: Share = ALL, crew: Crew | None = None
    ) -> None:
        self.plan = plan
        self.error: BaseException | None = None
        self._payloads, self._share, self._crew = payloads, share, crew or Alone()
        self._folder = Path(plan.record_to)
        self._ledger = Ledger(JournalWriter(self._folder / REQUESTS_FILE))
        self._pool = Pool(max(1, plan.scenario.users // share.of) if self._is_offline else plan.in_flight_limit)
        self._cut_short, self._turn = Event(), Event()
        self._closed = self._complete = False
        self._outcomes: list[StepOutcome] = []
        first = next_step(plan.scenario, ())
        assert first is not None  # every scenario offers something
        self._step, self._has_begun = first, False
        self._arrivals_ns, self._next_arrival = np.empty(0, dtype=np.int64), 0
        self._drawn = self._own_arrivals(first)  # before this worker says that it is ready
        self._late_ns = 0
        self._count_own_time()

    @property
    def is_closed(self) -> bool:
        """Whether its books are closed, by its own end or by anybody before it."""
        return self._closed

    @property
    def is_complete(self) -> bool:
        """Whether every step was carried out to its end."""
        return self._complete

    @property
    def is_scheduled(self) -> bool:
        """Whether requests follow a schedule; otherwise each user waits for the answer before."""
        return self.plan.scenario.kind != CLOSED_LOOP

    @property
    def _is_offline(self) -> bool:
        return self.plan.scenario.kind == "offline"

    def next_in_closed_loop(self) -> OpenRequest | None:
        """A request to send at once; None when the load is over. Waits for its beginning."""
        if not self._has_begun and not self.wait_for_step():
            return None
        while (now_ns := time.perf_counter_ns()) < self._began_ns:
            gevent.sleep((self._began_ns - now_ns) / NS_PER_S)
        if self._closed or now_ns >= self._end_ns:
            return None
        return self._begin(now_ns)

    def next_arrival(self) -> int | None:
        """When the next request is due, on the clock of ``perf_counter_ns``; None when this step has none left.

        Each instant is handed out once, however many users ask; its step lasts until `launch` has had it.
        """
        if self._closed or self._next_arrival == len(self._arrivals_ns):
            return None
        due_ns = int(self._arrivals_ns[self._next_arrival])
        self._next_arrival += 1
        self._in_hand += 1
        return due_ns

    def wait_for_step(self) -> bool:
        """Wait until another step has begun; false when there is none."""
        if not self._closed:
            self._turn.wait()
        return not self._closed

    def launch(self, due_ns: int, fire: Fire) -> None:
        """Start the request that was due at ``due_ns`` beside the others, or drop it when too many are in flight.

        Offline, where all are due at once, it waits for a free place instead.
        """
        if self._is_offline:
            self._pool.wait_available()
        if self._closed or due_ns < self._open_since_ns:  # its step is over, and it has been dropped
            return
        self._in_hand -= 1
        if self._pool.full():
            self._ledger.drop()
            return
        self._pool.spawn(fire, self._begin(due_ns)).link_exception(self._crashed)

    def sending(self, request: OpenRequest) -> None:
        """Note that ``request`` goes out now; in a closed loop that is also when it was meant to."""
        request.sent_ns = time.perf_counter_ns()
        if not self.is_scheduled:
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
                connect_ns=reply.connect_ns,
                receive_ns=reply.receive_ns,
            )
        except OSError as error:
            self.fail(error)
        self._count(request, reply)

    def fail(self, error: BaseException) -> None:
        """End the load before its time; the first error is kept."""
        self.error = self.error or error
        self._cut_short.set()

    def carry_out(self) -> None:
        """Offer step after step; return when the last is over, or at `fail`."""
        try:
            self._begin_step(self._crew.assemble())
            while self._wait_for_end_of_step():
                agreed = self._crew.agree(self._end_step())
                self._outcomes.append(agreed.outcome)
                following = next_step(self.plan.scenario, self._outcomes)
                if following is None:
                    self._complete = True
                    return
                self._step, self._drawn = following, self._own_arrivals(following)
                self._begin_step(agreed.begins_ns)
        except (HemaBenchError, OSError) as error:
            self.fail(error)

    def close(self) -> None:
        """Abort what is in flight and write the tally; raises ``OSError`` when the disk refuses."""
        if self._closed:
            return
        self._closed = True
        self._turn.set()
        self._cut_short.set()  # whoever carries it out is to wait no longer
        self._pool.kill()
        tally = self._tally(time.perf_counter_ns())
        self._ledger.close()
        write_json(self._folder / TALLY_FILE, tally)

    def _begin_step(self, begins_ns: int | None) -> None:
        """Begin the step whose arrivals are drawn, at the instant that all have agreed on or else now."""
        now_ns = time.perf_counter_ns()
        self._began_ns = self._open_since_ns = now_ns if begins_ns is None else begins_ns
        if not self._has_begun:
            self._count_own_time()
        self._waited_ns += max(0, self._began_ns - now_ns)
        self._late_ns = max(self._late_ns, now_ns - self._began_ns)
        require_punctual(now_ns - self._began_ns)
        self._dropped_before, self._by_end, self._in_time = self._ledger.dropped, 0, 0
        self._measured_from_ns = self._began_ns + round(self._step.warmup_s * NS_PER_S)
        self._end_ns = self._measured_from_ns + round(self._step.duration_s * NS_PER_S)
        self._measured_begun = 0
        self._arrivals_ns = self._drawn + self._began_ns
        self._next_arrival = self._in_hand = 0
        self._has_begun = True
        turn, self._turn = self._turn, Event()
        turn.set()

    def _count_own_time(self) -> None:
        """What the generator's own processor time is a share of begins now."""
        self._cpu_ns, self._started_ns, self._waited_ns = time.process_time_ns(), time.perf_counter_ns(), 0

    def _own_arrivals(self, step: Step) -> NDArray[np.int64]:
        if not self.is_scheduled:
            return np.empty(0, dtype=np.int64)
        own: NDArray[np.int64] = arrivals_of(self.plan.scenario, step)[self._share.index :: self._share.of]
        return own

    def _wait_for_end_of_step(self) -> bool:
        """Return when every request is sent and settled, or when it has been waited long enough; false at `fail`."""
        all_at_once = self._step.requests is not None
        if not all_at_once and self._cut_short.wait((self._end_ns - time.perf_counter_ns()) / NS_PER_S):
            return False
        deadline_ns = self._end_ns + (0 if all_at_once else round(self.plan.patience_s * NS_PER_S))
        while self._is_busy() and time.perf_counter_ns() < deadline_ns:
            if self._cut_short.wait(_SETTLING_S):
                return False
        return not self._cut_short.is_set()

    def _end_step(self) -> StepOutcome:
        """Give up what is still out, and count."""
        for _ in range(self._in_hand + len(self._arrivals_ns) - self._next_arrival):
            self._ledger.drop()
        self._next_arrival, self._in_hand = len(self._arrivals_ns), 0
        self._open_since_ns = time.perf_counter_ns()  # later than whatever is still in hand
        if self.is_scheduled:  # in a closed loop the users themselves are waiting: see `close`
            self._pool.kill()
            self._ledger.abort_open(time.perf_counter_ns())
        rate = self._step.rate_per_s
        return StepOutcome(
            step=self._step.number,
            rate_per_s=None if rate is None else rate / self._share.of,
            began_ns=self._began_ns,
            measured_from_ns=self._measured_from_ns,
            end_ns=self._end_ns,
            due=self._due(),
            by_end=self._by_end,
            in_time=self._in_time,
            dropped=self._ledger.dropped - self._dropped_before,
        )

    def _due(self) -> int:
        """How many requests of this step were to be measured."""
        if not self.is_scheduled:
            return self._measured_begun
        return int((self._arrivals_ns >= self._measured_from_ns).sum()) if self._step.measured else 0

    def _tally(self, now_ns: int) -> LoadTally:
        share = (time.process_time_ns() - self._cpu_ns) / max(now_ns - self._started_ns - self._waited_ns, 1)
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
            steps=tuple(self._outcomes),
            late_ns=self._late_ns,
        )

    def _begin(self, scheduled_ns: int) -> OpenRequest:
        number = self._ledger.started * self._share.of + self._share.index
        measured = self._step.measured and scheduled_ns >= self._measured_from_ns
        phase: Phase = "measured" if measured else "warmup"
        self._measured_begun += measured
        return self._ledger.begin(self._payloads[number % len(self._payloads)], phase, scheduled_ns, self._step.number)

    def _count(self, request: OpenRequest, reply: Reply) -> None:
        if reply.failure is not None or request.phase != "measured":
            return
        limit_s = self.plan.scenario.p99_limit_s
        self._by_end += reply.finished_ns <= self._end_ns
        self._in_time += limit_s is None or reply.finished_ns - request.scheduled_ns <= limit_s * NS_PER_S

    def _is_busy(self) -> bool:
        """Whether requests are out, in the hands of a user who has yet to launch them, or still to be handed out."""
        return self._ledger.in_flight > 0 or self._in_hand > 0 or self._next_arrival < len(self._arrivals_ns)

    def _crashed(self, greenlet: gevent.Greenlet) -> None:
        self.fail(greenlet.exception)
