from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from contract.errors import RunInvalid
from contract.records.journal import read_journal
from contract.records.load import REQUESTS_FILE, Cell, RequestRecord, StepOutcome
from loadtest.campaign.cells import Surroundings, measure_cell
from loadtest.generator.launch import offer
from loadtest.generator.plan import TALLY_FILE, LoadPlan
from loadtest.generator.workers import (
    LOAD_DONE,
    MasterSide,
    Share,
    hear_workers,
    merge_tallies,
    share_of,
    worker_folder,
)
from loadtest.scenarios import arrivals_of


class MasterRunner:
    """Locust's, as far as we use it: it takes one listener per kind of message, and logs what a listener raises."""

    def __init__(self) -> None:
        self.listeners: dict[str, Callable] = {}
        self.environment = SimpleNamespace(master_side=None)

    def register_message(self, kind: str, listener: Callable) -> None:
        assert kind not in self.listeners
        self.listeners[kind] = listener

    def hear(self, kind: str, **data: object) -> None:
        with contextlib.suppress(Exception):
            self.listeners[kind](environment=self.environment, msg=SimpleNamespace(data=data))


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
    assert sum(step.due for step in tally.steps) == sum(record.phase == "measured" for record in records)


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


def test_counts_of_workers_add_up() -> None:
    one = StepOutcome(
        step=2, rate_per_s=25, began_ns=5, measured_from_ns=7, end_ns=9, due=100, by_end=90, in_time=80, dropped=1
    )
    other = StepOutcome(
        step=2, rate_per_s=25, began_ns=4, measured_from_ns=8, end_ns=9, due=50, by_end=50, in_time=50, dropped=0
    )
    total = one + other
    assert (total.rate_per_s, total.due, total.by_end, total.in_time, total.dropped) == (50, 150, 140, 130, 1)
    assert (total.began_ns, total.measured_from_ns, total.end_ns) == (4, 7, 9)


def test_a_worker_in_the_place_of_a_lost_one_is_refused(make_plan: Callable) -> None:
    plan: LoadPlan = make_plan()
    assert share_of(plan, Share(index=1, of=2)).record_to.endswith("worker-1")
    with pytest.raises(RunInvalid, match="start all of them anew"):
        share_of(plan, Share(index=2, of=2))


def test_a_worker_whose_count_is_not_here_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match="shared folder"):
        merge_tallies(tmp_path, 2)


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
