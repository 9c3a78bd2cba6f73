from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gevent
import numpy as np
import psutil
import pytest

from contract.errors import RunInvalid
from contract.records.journal import read_journal
from contract.records.load import REQUESTS_FILE, Cell, RequestRecord
from contract.storage import read_json
from contract.timing import NS_PER_MS, NS_PER_S
from loadtest.campaign.cells import Surroundings, measure_cell
from loadtest.generator import workers
from loadtest.generator.clocks import on_own_clock
from loadtest.generator.exchange import Reply
from loadtest.generator.launch import offer
from loadtest.generator.ledger import OpenRequest
from loadtest.generator.merging import merge_journals, merge_tallies, worker_folder
from loadtest.generator.offering import Offering
from loadtest.generator.payloads import Payload
from loadtest.generator.plan import TALLY_FILE, LoadPlan, LoadTally
from loadtest.generator.workers import (
    LOAD_DONE,
    LOAD_STOPPED,
    STEP_AGREED,
    MasterSide,
    Share,
    WorkerSide,
    hear_workers,
    share_of,
)
from loadtest.scenarios import arrivals_of
from loadtest.steps import next_step


class MasterRunner:
    """Locust's, as far as we use it: it takes one listener per kind of message, and logs what a listener raises."""

    def __init__(self) -> None:
        self.listeners: dict[str, Callable] = {}
        self.environment = SimpleNamespace(master_side=None)
        self.workers: list[WorkerRunner] = []

    def register_message(self, kind: str, listener: Callable) -> None:
        assert kind not in self.listeners
        self.listeners[kind] = listener

    def hear(self, kind: str, **data: object) -> None:
        with contextlib.suppress(Exception):
            self.listeners[kind](environment=self.environment, msg=SimpleNamespace(data=data))

    def send_message(self, kind: str, data: object = None) -> None:
        for worker in self.workers:
            worker.listeners[kind](environment=None, msg=SimpleNamespace(data=data))


class WorkerRunner:
    """Locust's, connected to ``master`` without a network."""

    def __init__(self, master: MasterRunner) -> None:
        self.listeners: dict[str, Callable] = {}
        self.master, self.worker_index = master, len(master.workers)
        master.workers.append(self)

    def register_message(self, kind: str, listener: Callable) -> None:
        self.listeners[kind] = listener

    def send_message(self, kind: str, data: dict) -> None:
        self.master.hear(kind, **data)


def keep_schedule(offering: Offering) -> None:
    """A user who fires every request at once, at a service that answers the first step in time and no other."""

    def fire(request: OpenRequest) -> None:
        offering.sending(request)
        finished_ns = request.sent_ns + (NS_PER_S * 3600 if request.step else 1)
        offering.settle(
            request, Reply(finished_ns=finished_ns, status=200, length_bytes=1, answered=2, failure=None, parts_ns={})
        )

    while True:
        if (due_ns := offering.next_arrival()) is not None:
            offering.launch(due_ns, fire)
        elif not offering.wait_for_step():
            return


def records_in(folder: Path) -> tuple[RequestRecord, ...]:
    return read_journal(folder / REQUESTS_FILE, RequestRecord).records


@pytest.mark.acceptance("D10")
def test_workers_offer_one_schedule_between_them_and_keep_one_set_of_books(
    fake_service: Callable, make_plan: Callable, truth_at: Callable
) -> None:
    plan = make_plan(rate_per_s=60, warmup_s=0.3, duration_s=1.5)
    with fake_service(service_ms=2) as service:
        tally = offer(service.url, plan, workers=2)
        truth = truth_at(service.url)
    records = records_in(Path(plan.record_to))
    assert (tally.workers, tally.complete) == (2, True)
    assert tally.started == tally.ok == truth["ok"] == len(records) == len(arrivals_of(plan.scenario))
    assert [record.request for record in records] == list(range(len(records)))
    parts = [records_in(worker_folder(Path(plan.record_to), index)) for index in (0, 1)]
    assert abs(len(parts[0]) - len(parts[1])) <= 1
    # Raw requests were put together: what all of them say is what the merged journal says.
    together = [record.response_time_ns for part in parts for record in part]
    merged = [record.response_time_ns for record in records]
    assert np.percentile(together, 99) == np.percentile(merged, 99)
    scheduled_ns = np.array([record.scheduled_ns for record in records])
    gaps_ns = np.diff(scheduled_ns) - np.diff(arrivals_of(plan.scenario))
    assert np.abs(gaps_ns).max() < NS_PER_MS  # two processes, one clock of the wall
    assert sum(step.due for step in tally.steps) == sum(record.phase == "measured" for record in records)


@pytest.mark.parametrize("kind", ["open_loop", "ladder"])
def test_the_parts_of_workers_are_one_schedule(kind: str, make_plan: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    offset_ns = on_own_clock(0)
    monkeypatch.setattr(workers, "on_own_clock", lambda wall_ns: wall_ns + offset_ns)  # the same clock, read once
    plan = make_plan(kind=kind, rate_per_s=200, duration_s=0.2)
    master = MasterRunner()
    hear_workers(master)
    master.environment.master_side = MasterSide(master, plan, 2, print)
    crew = [WorkerSide(WorkerRunner(master)) for _ in range(2)]
    shares = [Share(index=index, of=2) for index in range(2)]
    payloads = (Payload(image=7, expected=2, body=b""),)
    parts = [
        Offering(share_of(plan, share), payloads, share=share, crew=side)
        for share, side in zip(shares, crew, strict=True)
    ]
    users = [gevent.spawn(keep_schedule, part) for part in parts]
    endings = []
    for part in parts:
        endings.append(gevent.spawn(part.carry_out))
        gevent.sleep(0.05)  # the second is ready later
    gevent.joinall(endings, timeout=30, raise_error=True)
    for part in parts:
        part.close()
    gevent.joinall(users, timeout=30, raise_error=True)
    folder = Path(plan.record_to)
    merge_journals(folder, 2)
    tally = merge_tallies(folder, 2)
    assert (tally.complete, len(tally.steps)) == (True, 1 if kind == "open_loop" else 2)
    for number in range(len(tally.steps)):
        scheduled_ns = [record.scheduled_ns for record in records_in(folder) if record.step == number]
        arrivals_ns = arrivals_of(plan.scenario, next_step(plan.scenario, tally.steps[:number]))
        assert np.array_equal(np.array(scheduled_ns) - tally.steps[number].began_ns, arrivals_ns)


def test_a_worker_whose_clock_is_behind_the_masters_does_not_begin() -> None:
    master = MasterRunner()
    runner = WorkerRunner(master)
    side = WorkerSide(runner)
    asking = gevent.spawn(side.assemble)
    gevent.sleep(0)
    msg = SimpleNamespace(data={"outcome": None, "begins_wall_ns": time.time_ns() + 60 * NS_PER_S})
    runner.listeners[STEP_AGREED](environment=None, msg=msg)
    with pytest.raises(RunInvalid, match=r"clock is 59\d\d\d ms or more behind"):
        asking.get(timeout=30)


def test_workers_take_the_next_step_together(fake_service: Callable, make_plan: Callable) -> None:
    # The first rate leaves half a second for the last answer; the second is twice what the service can do.
    plan = make_plan(kind="ladder", rate_per_s=2, rate_growth=100.0, duration_s=2.0, arrivals="constant")
    with fake_service(service_ms=10) as service:
        tally = offer(service.url, plan, workers=2)
    assert [step.rate_per_s for step in tally.steps] == pytest.approx([2, 200])
    records = records_in(Path(plan.record_to))
    assert {record.step for record in records} == {0, 1}
    assert tally.started == len(records)


def test_a_lost_worker_makes_the_load_invalid(fake_service: Callable, make_plan: Callable) -> None:
    plan = make_plan(rate_per_s=50, duration_s=60.0)
    journal = worker_folder(Path(plan.record_to), 1) / REQUESTS_FILE
    killed: list[int] = []

    def kill_one(elapsed_s: float) -> None:
        if killed or not journal.exists() or journal.stat().st_size < 1_000:
            return
        locusts = [child for child in psutil.Process().children(recursive=True) if "locust" in child.cmdline()]
        workers = [child for child in locusts if "locust" in (child.parent() or child).cmdline()]
        workers = [child for child in workers if "loadtest.service.guard" not in child.cmdline()]
        newest = max(workers, key=lambda child: child.pid)
        newest.kill()
        killed.append(newest.pid)

    cell = Cell(runtime="fake", resolution_px=28, scenario="open_loop")
    with fake_service(service_ms=2) as service:
        outcome = measure_cell(service.url, cell, plan, Surroundings(), ticking=kill_one, workers=2)
    assert killed
    assert outcome.error is not None
    assert "a worker was lost: 1 of 2 are left" in outcome.error
    assert outcome.ok > 0  # what was recorded until then is kept
    assert not (Path(plan.record_to) / TALLY_FILE).exists()


def test_a_worker_in_the_place_of_a_lost_one_is_refused(make_plan: Callable) -> None:
    plan: LoadPlan = make_plan()
    assert share_of(plan, Share(index=1, of=2)).record_to.endswith("worker-1")
    with pytest.raises(RunInvalid, match="start all of them anew"):
        share_of(plan, Share(index=2, of=2))


def stopped(make_plan: Callable, workers: int = 2) -> tuple[MasterSide, LoadPlan, list[str]]:
    """A load that ``workers`` of two have begun and a master that may stop it, with the kinds of what it tells them."""
    plan, master, told = make_plan(rate_per_s=100, duration_s=60.0), MasterRunner(), []
    for index in range(workers):
        share = Share(index=index, of=2)
        part = Offering(share_of(plan, share), (Payload(image=7, expected=2, body=b""),), share=share)
        gevent.spawn(part.carry_out)
        user = gevent.spawn(keep_schedule, part)
        runner = WorkerRunner(master)
        runner.register_message(LOAD_STOPPED, lambda part=part, **_: (told.append(LOAD_STOPPED), part.close()))
        gevent.sleep(0)
        user.join(0.01)
    return MasterSide(master, plan, 2, lambda error: told.append(str(error))), plan, told


def test_a_load_that_is_stopped_leaves_common_books(make_plan: Callable) -> None:
    side, plan, told = stopped(make_plan)
    tally = side.stop()
    assert told == [LOAD_STOPPED] * 2
    assert side.is_over
    assert (tally.complete, tally.workers) == (False, 2)
    assert read_json(Path(plan.record_to) / TALLY_FILE, LoadTally) == tally
    assert len(records_in(Path(plan.record_to))) == tally.started > 0
    side.look_after()  # of workers that go now
    assert told == [LOAD_STOPPED] * 2


def test_a_load_that_is_stopped_without_all_its_workers_keeps_a_journal(
    make_plan: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CLOSING_S", 0.1)
    side, plan, _ = stopped(make_plan, workers=1)
    with pytest.raises(RunInvalid, match="worker-1 has no count"):
        side.stop()
    assert len(records_in(Path(plan.record_to))) > 0
    assert not (Path(plan.record_to) / TALLY_FILE).exists()


def test_workers_that_are_interrupted_leave_common_books(fake_service: Callable, make_plan: Callable) -> None:
    plan = make_plan(rate_per_s=50, duration_s=60.0)
    journal = worker_folder(Path(plan.record_to), 1) / REQUESTS_FILE

    def interrupt(elapsed_s: float) -> None:
        if journal.exists() and journal.stat().st_size > 1_000:
            raise KeyboardInterrupt

    with fake_service(service_ms=2) as service, pytest.raises(KeyboardInterrupt):
        offer(service.url, plan, ticking=interrupt, workers=2)
    tally = read_json(Path(plan.record_to) / TALLY_FILE, LoadTally)
    assert (tally.complete, tally.workers) == (False, 2)
    assert len(records_in(Path(plan.record_to))) == tally.started > 0


def test_a_master_leads_one_load_after_another(make_plan: Callable, tmp_path: Path) -> None:
    runner = MasterRunner()
    hear_workers(runner)
    runner.hear(LOAD_DONE, index=0, error="nobody listens yet")
    ends = []
    for number in (1, 2):
        plan = make_plan(record_to=str(tmp_path / str(number)))
        runner.environment.master_side = MasterSide(runner, plan, 2, ends.append)
        runner.hear(LOAD_DONE, index=1, error=f"trouble {number}")
    assert ends == ["worker 1 broke off: trouble 1", "worker 1 broke off: trouble 2"]


def test_a_load_ends_with_an_error_where_the_workers_records_are_not_here(make_plan: Callable) -> None:
    runner, ends = MasterRunner(), []
    hear_workers(runner)
    runner.environment.master_side = MasterSide(runner, make_plan(), 2, ends.append)
    for index in (0, 1):
        runner.hear(LOAD_DONE, index=index, error=None)
    (error,) = ends
    assert "shared folder" in error


def test_a_load_ends_with_the_first_error_where_records_cannot_be_put_together(make_plan: Callable) -> None:
    runner, ends, plan = MasterRunner(), [], make_plan()
    hear_workers(runner)
    (Path(plan.record_to)).mkdir()
    (Path(plan.record_to) / REQUESTS_FILE).write_text("of an earlier load")
    runner.environment.master_side = MasterSide(runner, plan, 2, ends.append)
    runner.hear(LOAD_DONE, index=1, error="trouble")
    assert ends == ["worker 1 broke off: trouble"]
