"""Several generator processes that offer one load: who sends which arrival, when a step is over, and one set of books.

Each worker takes every n-th arrival of the common schedule and writes a journal of its own
in ``worker-<index>/``. When all are ready the master names the instant at which they begin:
were each to begin when it is ready itself, their parts would lie some 30 ms apart, and no
burst of the schedule would be as dense as it was drawn. After each step it adds up their
counts, so that all take the same next step, and names its instant; in the end it puts the
journals together. A worker that is lost makes the load invalid.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Protocol

import gevent
import msgspec
from gevent.event import AsyncResult

from contract.errors import HemaBenchError, RunInvalid
from contract.records.load import StepOutcome
from contract.storage import write_json
from contract.timing import NS_PER_MS
from loadtest.generator.clocks import on_own_clock
from loadtest.generator.merging import merge_journals, merge_tallies, worker_folder
from loadtest.generator.plan import TALLY_FILE, LoadPlan, LoadTally

STEP_DONE = "hemabench-step-done"
STEP_AGREED = "hemabench-step-agreed"
LOAD_DONE = "hemabench-load-done"
LOAD_STOPPED = "hemabench-load-stopped"
# How far ahead the master names an instant: far more than a message and the drawing of arrivals take.
LEAD_NS = 500 * NS_PER_MS
# What a worker may be late, or its clock be wrong. Whatever is due meanwhile is sent late, and its send delay says so,
# as of any delay of the generator; who is later, with so long a lead, stood still, or was told a wrong instant.
LATEST_NS = 5 * NS_PER_MS
# How long the master waits for the books of workers that are stopped; whoever ends the master gives it 10 s for all.
CLOSING_S = 5.0
_LOOK_FOR_BOOKS_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of a load one process offers: every ``of``-th arrival, beginning with number ``index``."""

    index: int = 0
    of: int = 1


ALL = Share()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What a step came to, and when the next begins, on this process's ``perf_counter_ns``; None: when it is ready."""

    outcome: StepOutcome
    begins_ns: int | None = None


class Crew(Protocol):
    """All processes that offer one load, as each of them sees it."""

    def assemble(self) -> int | None:
        """Wait until all are ready; when the first step begins, as in `Agreement`."""

    def agree(self, outcome: StepOutcome) -> Agreement:
        """All counts of a step together, given one's own."""


class Alone:
    """The crew of a process without colleagues."""

    def assemble(self) -> None:
        """See `Crew`."""

    def agree(self, outcome: StepOutcome) -> Agreement:
        """See `Crew`."""
        return Agreement(outcome=outcome)


def require_punctual(late_ns: int) -> None:
    """Raise `RunInvalid` where a step began so late that it is not the one that was drawn."""
    if late_ns > LATEST_NS:
        raise RunInvalid(
            f"this worker began a step {late_ns / NS_PER_MS:.0f} ms late, and {LATEST_NS // NS_PER_MS} ms are allowed. "
            "Next: see whether its machine is overloaded, or its clock wrong, and repeat the load"
        )


def share_of(plan: LoadPlan, share: Share) -> LoadPlan:
    """The plan of one worker: its own folder, and its part of what may be under way at once."""
    if not 0 <= share.index < share.of:
        raise RunInvalid(f"this is worker {share.index} of {share.of}: one was replaced. Next: start all of them anew")
    folder = worker_folder(Path(plan.record_to), share.index)
    return replace(plan, record_to=str(folder), in_flight_limit=max(1, plan.in_flight_limit // share.of))


class WorkerSide:
    """A worker's conversation with its master, and so its `Crew`; ``runner`` is Locust's."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._agreed: AsyncResult = AsyncResult()
        runner.register_message(STEP_AGREED, self._hear)

    def assemble(self) -> int:
        """See `Crew`; waits for the slowest, or for the end of this process."""
        begins_ns, _ = self._ask(None)
        return begins_ns

    def agree(self, outcome: StepOutcome) -> Agreement:
        """See `Crew`; waits as `assemble` does."""
        begins_ns, total = self._ask(asdict(outcome))
        return Agreement(outcome=msgspec.convert(total, StepOutcome), begins_ns=begins_ns)

    def done(self, error: str | None) -> None:
        """Tell the master that this worker has closed its books."""
        self._runner.send_message(LOAD_DONE, {"index": self._runner.worker_index, "error": error})

    def _ask(self, outcome: dict[str, Any] | None) -> tuple[int, Any]:
        self._agreed = AsyncResult()
        self._runner.send_message(STEP_DONE, {"index": self._runner.worker_index, "outcome": outcome})
        said, heard_wall_ns = self._agreed.get()
        _require_same_time(said["begins_wall_ns"] - heard_wall_ns - LEAD_NS)
        return on_own_clock(said["begins_wall_ns"]), said["outcome"]

    def _hear(self, environment: Any, msg: Any, **_: Any) -> None:
        self._agreed.set((msg.data, time.time_ns()))


def _require_same_time(behind_ns: int) -> None:
    """What is named ``LEAD_NS`` ahead cannot be further off than that, unless the clocks differ."""
    if behind_ns > LATEST_NS:
        raise RunInvalid(
            f"this worker's clock is {behind_ns / NS_PER_MS:.0f} ms or more behind the master's. "
            "Next: let NTP set both clocks, and repeat the load"
        )


class MasterSide:
    """The master's count of its workers during one load. ``finish`` is called once, with an error or without."""

    def __init__(self, runner: Any, plan: LoadPlan, workers: int, finish: Callable[[str | None], None]) -> None:
        self._runner, self._plan, self._workers, self._finish = runner, plan, workers, finish
        self._said: dict[int, dict[str, Any] | None] = {}
        self._done: set[int] = set()
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether the load has ended, well or not."""
        return self._over

    def look_after(self) -> None:
        """Break off when a worker is gone; Locust itself would go on with the others."""
        if self._over:
            return
        clients = self._runner.clients
        here = len(clients.ready) + len(clients.spawning) + len(clients.running)
        if here < self._workers:
            self._end(f"a worker was lost: {here} of {self._workers} are left, and its share was not sent")

    def stop(self) -> LoadTally:
        """Somebody ends the load: have the workers close their books, and put together what they wrote until then.

        What they do from now on is no business of this load. Raises `HemaBenchError` or
        ``OSError`` where no common books can be made; the journal may be there all the same.
        """
        self._over = True
        self._runner.send_message(LOAD_STOPPED)
        folders = [worker_folder(Path(self._plan.record_to), index) for index in range(self._workers)]
        with gevent.Timeout(CLOSING_S, False):
            while not all((folder / TALLY_FILE).is_file() for folder in folders):
                gevent.sleep(_LOOK_FOR_BOOKS_S)
        self._merge_journals()
        return self._merge_tallies()

    def hear_step(self, said: dict[str, Any]) -> None:
        """A worker is ready, or has ended a step; when all have, tell them what it came to and when the next begins."""
        self._said[said["index"]] = said["outcome"]
        if len(self._said) < self._workers:
            return
        outcomes = [msgspec.convert(outcome, StepOutcome) for outcome in self._said.values() if outcome is not None]
        total = asdict(reduce(add, outcomes)) if outcomes else None
        self._said = {}
        self._runner.send_message(STEP_AGREED, {"outcome": total, "begins_wall_ns": time.time_ns() + LEAD_NS})

    def hear_done(self, said: dict[str, Any]) -> None:
        """A worker has closed its books; when all have, the load is over."""
        self._done.add(said["index"])
        if said["error"] is not None:
            self._end(f"worker {said['index']} broke off: {said['error']}")
        elif len(self._done) == self._workers:
            self._end(None)

    def _end(self, error: str | None) -> None:
        if self._over:
            return
        self._over = True
        try:
            self._merge_journals()
            if error is None:
                self._merge_tallies()
        except (HemaBenchError, OSError) as problem:  # Locust would log it, and wait for ever
            error = error or str(problem)
        self._finish(error)

    def _merge_journals(self) -> None:
        merge_journals(Path(self._plan.record_to), self._workers)

    def _merge_tallies(self) -> LoadTally:
        folder = Path(self._plan.record_to)
        tally = merge_tallies(folder, self._workers)
        write_json(folder / TALLY_FILE, tally)
        return tally


def hear_workers(runner: Any) -> None:
    """Let whoever leads at the time, ``environment.master_side``, hear the workers.

    Locust takes one listener per kind of message for as long as it runs, and its page starts many loads.
    """
    runner.register_message(STEP_DONE, _passed_to(MasterSide.hear_step))
    runner.register_message(LOAD_DONE, _passed_to(MasterSide.hear_done))


def _passed_to(hear: Callable[[MasterSide, dict[str, Any]], None]) -> Callable[..., None]:
    def listener(environment: Any, msg: Any, **_: Any) -> None:
        if environment.master_side is not None:
            hear(environment.master_side, msg.data)

    return listener
