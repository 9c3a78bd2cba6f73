"""Several generator processes that offer one load: who sends which arrival, when a step is over, and one set of books.

Each worker takes every n-th arrival of the common schedule and writes a journal of its own
in ``worker-<index>/``. After each step the master adds up the workers' counts, so that all
take the same next step, and in the end it puts the journals together: no percentile is
ever made of percentiles. A worker that is lost makes the load invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import msgspec
from gevent.event import AsyncResult

from contract.errors import HemaBenchError, RunInvalid
from contract.records.journal import JournalWriter, read_journal
from contract.records.load import REQUESTS_FILE, RequestRecord, StepOutcome
from contract.storage import read_json, write_json
from loadtest.generator.plan import TALLY_FILE, LoadPlan, LoadTally

STEP_DONE = "hemabench-step-done"
STEP_AGREED = "hemabench-step-agreed"
LOAD_DONE = "hemabench-load-done"

Agree = Callable[[StepOutcome], StepOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of a load one process offers: every ``of``-th arrival, beginning with number ``index``."""

    index: int = 0
    of: int = 1


ALL = Share()


def alone(outcome: StepOutcome) -> StepOutcome:
    """What a process without colleagues makes of its own counts."""
    return outcome


def worker_folder(folder: Path, index: int) -> Path:
    """Where the records of one worker are."""
    return folder / f"worker-{index}"


def share_of(plan: LoadPlan, share: Share) -> LoadPlan:
    """The plan of one worker: its own folder, and its part of what may be under way at once."""
    if not 0 <= share.index < share.of:
        raise RunInvalid(f"this is worker {share.index} of {share.of}: one was replaced. Next: start all of them anew")
    folder = worker_folder(Path(plan.record_to), share.index)
    return replace(plan, record_to=str(folder), in_flight_limit=max(1, plan.in_flight_limit // share.of))


class WorkerSide:
    """A worker's conversation with its master; ``runner`` is Locust's."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._agreed: AsyncResult = AsyncResult()
        runner.register_message(STEP_AGREED, self._hear)

    def agree(self, outcome: StepOutcome) -> StepOutcome:
        """The sum of all workers' counts; waits for the slowest, or for the end of this process."""
        self._agreed = AsyncResult()
        self._runner.send_message(STEP_DONE, {"index": self._runner.worker_index, "outcome": asdict(outcome)})
        agreed: StepOutcome = self._agreed.get()
        return agreed

    def done(self, error: str | None) -> None:
        """Tell the master that this worker has closed its books."""
        self._runner.send_message(LOAD_DONE, {"index": self._runner.worker_index, "error": error})

    def _hear(self, environment: Any, msg: Any, **_: Any) -> None:
        self._agreed.set(msgspec.convert(msg.data, StepOutcome))


class MasterSide:
    """The master's count of its workers during one load. ``finish`` is called once, with an error or without."""

    def __init__(self, runner: Any, plan: LoadPlan, workers: int, finish: Callable[[str | None], None]) -> None:
        self._runner, self._plan, self._workers, self._finish = runner, plan, workers, finish
        self._step: dict[int, StepOutcome] = {}
        self._done: set[int] = set()
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether the load has ended, well or not."""
        return self._over

    def look_after(self) -> None:
        """Break off when a worker is gone; Locust itself would go on with the others."""
        clients = self._runner.clients
        here = len(clients.ready) + len(clients.spawning) + len(clients.running)
        if not self._over and here < self._workers:
            self._end(f"a worker was lost: {here} of {self._workers} are left, and its share was not sent")

    def abandon(self) -> None:
        """Somebody stopped the load: what workers do from now on is no business of this one."""
        self._over = True

    def hear_step(self, said: dict[str, Any]) -> None:
        """A worker has ended a step; when all have, tell them what it came to."""
        self._step[said["index"]] = msgspec.convert(said["outcome"], StepOutcome)
        if len(self._step) == self._workers:
            total = reduce(add, self._step.values())
            self._step = {}
            self._runner.send_message(STEP_AGREED, asdict(total))

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
            self._merge(with_tally=error is None)
        except (HemaBenchError, OSError) as problem:  # Locust would log it, and wait for ever
            error = error or str(problem)
        self._finish(error)

    def _merge(self, *, with_tally: bool) -> None:
        folder = Path(self._plan.record_to)
        merge_journals(folder, self._workers)
        if with_tally:
            write_json(folder / TALLY_FILE, merge_tallies(folder, self._workers))


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


def merge_journals(folder: Path, workers: int) -> None:
    """One journal of all workers' requests in the order of their schedule, numbered anew; their own files stay."""
    journals = [worker_folder(folder, index) / REQUESTS_FILE for index in range(workers)]
    records = [record for path in journals if path.is_file() for record in read_journal(path, RequestRecord).records]
    with JournalWriter(folder / REQUESTS_FILE) as merged:
        for number, record in enumerate(sorted(records, key=lambda record: record.scheduled_ns)):
            merged.append(replace(record, request=number))


def merge_tallies(folder: Path, workers: int) -> LoadTally:
    """All workers' counts together; the busiest generator stands for all. Raises `RunInvalid` where one is missing."""
    tallies = [_tally_in(worker_folder(folder, index)) for index in range(workers)]
    return LoadTally(
        started=sum(tally.started for tally in tallies),
        ok=sum(tally.ok for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        aborted=sum(tally.aborted for tally in tallies),
        dropped=sum(tally.dropped for tally in tallies),
        cpu_share=max(tally.cpu_share for tally in tallies),
        complete=all(tally.complete for tally in tallies),
        steps=_agreed_steps(tallies),
        workers=workers,
    )


def _agreed_steps(tallies: Sequence[LoadTally]) -> tuple[StepOutcome, ...]:
    """Every worker keeps the sums that were agreed on."""
    return tallies[0].steps


def _tally_in(folder: Path) -> LoadTally:
    if not (folder / TALLY_FILE).is_file():
        raise RunInvalid(f"{folder} has no count of a worker. Next: let all workers write to one shared folder")
    return read_json(folder / TALLY_FILE, LoadTally)
