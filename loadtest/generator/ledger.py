"""Every request that is started is settled once: as an answer, as a failure, or as aborted."""

from __future__ import annotations

from contract.errors import RunInvalid
from contract.records.journal import JournalWriter
from contract.records.load import ABORTED, Phase, RequestRecord
from loadtest.generator.payloads import Payload


class OpenRequest:
    """A request that is under way. ``sent_ns`` is set again at the instant of sending."""

    __slots__ = ("number", "payload", "phase", "scheduled_ns", "sent_ns", "step")

    def __init__(self, number: int, payload: Payload, phase: Phase, scheduled_ns: int, step: int) -> None:
        self.number = number
        self.payload = payload
        self.phase = phase
        self.scheduled_ns = scheduled_ns
        self.sent_ns = scheduled_ns
        self.step = step


class Ledger:
    """Counts requests and appends their records to ``journal``; started = ok + failed + aborted once closed."""

    def __init__(self, journal: JournalWriter) -> None:
        self.started = self.ok = self.failed = self.aborted = self.dropped = 0
        self._journal = journal
        self._open: dict[int, OpenRequest] = {}

    @property
    def in_flight(self) -> int:
        """Started and not settled."""
        return len(self._open)

    def begin(self, payload: Payload, phase: Phase, scheduled_ns: int, step: int = 0) -> OpenRequest:
        """Count a request that is about to be sent."""
        request = OpenRequest(self.started, payload, phase, scheduled_ns, step)
        self._open[request.number] = request
        self.started += 1
        return request

    def drop(self) -> None:
        """Count an arrival that is never sent, because too many requests are in flight."""
        self.dropped += 1

    def settle(
        self,
        request: OpenRequest,
        *,
        finished_ns: int,
        status: int,
        answered: int | None,
        failure: str | None,
        parts_ns: dict[str, int],
        connect_ns: int = 0,
        receive_ns: int = 0,
    ) -> None:
        """Write the record of ``request``; ``OSError`` when the disk refuses, and then it counts as open."""
        if request.number not in self._open:
            raise RunInvalid(f"request {request.number} ended twice. Next: report it as a bug of the load test")
        record = RequestRecord(
            request=request.number,
            phase=request.phase,
            image=request.payload.image,
            expected=request.payload.expected,
            scheduled_ns=request.scheduled_ns,
            sent_ns=request.sent_ns,
            finished_ns=finished_ns,
            status=status,
            answered=answered,
            failure=failure,
            parts_ns=parts_ns,
            step=request.step,
            connect_ns=connect_ns,
            receive_ns=receive_ns,
        )
        self._journal.append(record)
        del self._open[request.number]
        self._count(failure)

    def abort_open(self, now_ns: int) -> None:
        """Settle whatever is still open as aborted at ``now_ns``."""
        for request in list(self._open.values()):
            self.settle(request, finished_ns=now_ns, status=0, answered=None, failure=ABORTED, parts_ns={})

    def close(self) -> None:
        """Flush the journal to the disk."""
        self._journal.close()

    def _count(self, failure: str | None) -> None:
        if failure is None:
            self.ok += 1
        elif failure == ABORTED:
            self.aborted += 1
        else:
            self.failed += 1
