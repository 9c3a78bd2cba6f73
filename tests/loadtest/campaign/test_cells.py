from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import RunInvalid
from contract.records.load import Cell, RequestRecord
from contract.timing import NS_PER_S
from loadtest.campaign.cells import Surroundings, capacity_per_s, failed_cell, imbalance, measure_cell
from loadtest.generator.plan import LoadTally
from loadtest.service.processes import split_cores

CELL = Cell(runtime="fake", resolution_px=28, scenario="closed_loop")


def record(*, sent_ns: int = 0, finished_ns: int = 1, **changes: Any) -> RequestRecord:
    given = {"phase": "measured", "status": 200, "answered": 1, "failure": None} | changes
    return RequestRecord(
        request=0,
        image=0,
        expected=1,
        scheduled_ns=sent_ns,
        sent_ns=sent_ns,
        finished_ns=finished_ns,
        parts_ns={},
        **given,
    )


def tally(**changes: Any) -> LoadTally:
    given = {"started": 6, "ok": 3, "failed": 2, "aborted": 1, "dropped": 0, "cpu_share": 0.1, "complete": True}
    return LoadTally(**(given | changes))


@given(st.integers(1, 500), st.integers(1_000, 10**9))
def test_capacity_is_answers_per_second_of_a_closed_loop(answers: int, service_ns: int) -> None:
    records = [record(sent_ns=i * service_ns, finished_ns=(i + 1) * service_ns) for i in range(answers)]
    assert capacity_per_s(records) == pytest.approx(NS_PER_S / service_ns)


def test_neither_warm_up_nor_failures_are_capacity() -> None:
    answers = [record(sent_ns=0, finished_ns=NS_PER_S), record(sent_ns=NS_PER_S, finished_ns=2 * NS_PER_S)]
    others = [record(finished_ns=1, phase="warmup"), record(finished_ns=1, failure="http_503", answered=None)]
    assert capacity_per_s([*answers, *others]) == 1.0


def test_without_an_answer_there_is_no_capacity() -> None:
    with pytest.raises(RunInvalid, match="no positive answer"):
        capacity_per_s([record(failure="timeout", answered=None)])


def test_books_that_agree_are_balanced() -> None:
    assert imbalance(tally(), Counter(ok=3, failed=2, aborted=1)) is None


@pytest.mark.parametrize("counts", [Counter(ok=2, failed=2, aborted=1), Counter(ok=4, failed=1, aborted=1)])
def test_a_journal_that_holds_another_number_is_an_error(counts: Counter[str]) -> None:
    assert "do not balance" in str(imbalance(tally(), counts))


def test_a_request_that_never_ended_is_an_error() -> None:
    assert "do not balance" in str(imbalance(tally(started=7), Counter(ok=3, failed=2, aborted=1)))


def test_a_load_that_was_cut_short_is_an_error() -> None:
    assert "stopped before its end" in str(imbalance(tally(complete=False), Counter(ok=3, failed=2, aborted=1)))


@pytest.mark.acceptance("D1")
def test_the_service_counts_what_we_count(fake_service: Callable, make_plan: Callable) -> None:
    with fake_service(service_ms=1, faults={"1": "http_503"}) as service:
        outcome = measure_cell(service.url, CELL, make_plan(), Surroundings(), service=service)
        again = measure_cell(
            service.url, CELL, replace(make_plan(), record_to=make_plan().record_to + "-2"), Surroundings()
        )
    assert outcome.error is None
    assert outcome.started == outcome.ok + outcome.failed + outcome.aborted
    assert (outcome.failed, outcome.answered_by_service) == (1, outcome.ok)
    assert again.answered_by_service == again.ok  # of this cell alone, not since the service began
    assert outcome.service_facts["name"] == "fake"


def test_a_service_with_another_artifact_is_not_measured(fake_service: Callable, make_plan: Callable) -> None:
    plan = make_plan()
    with fake_service(digest="0" * 64) as service:
        outcome = measure_cell(service.url, CELL, plan, Surroundings(digest="1" * 64), service=service)
    assert "artifact" in str(outcome.error)
    assert outcome.started == 0
    assert not Path(plan.record_to).exists()


@pytest.mark.acceptance("D10")
def test_a_service_that_dies_under_load_makes_a_failed_cell_with_records(
    fake_service: Callable, make_plan: Callable
) -> None:
    with fake_service(service_ms=5, die_after=8) as service:
        outcome = measure_cell(service.url, CELL, make_plan(duration_s=1.0), Surroundings(), service=service)
    assert "ran into a wall" in str(outcome.error)
    assert outcome.ok == 8
    assert outcome.failed > 0
    assert outcome.started == outcome.ok + outcome.failed + outcome.aborted


def test_a_compilation_under_load_and_the_use_of_the_machine_are_recorded(
    fake_service: Callable, make_plan: Callable
) -> None:
    cores = split_cores(1)
    with fake_service(service_ms=1, compiles_at=0) as service:
        outcome = measure_cell(service.url, CELL, make_plan(), Surroundings(cores=cores), service=service)
        again = replace(make_plan(), record_to=make_plan().record_to + "-2")
        steady = measure_cell(service.url, CELL, again, Surroundings(cores=cores))
    assert (outcome.compilations, steady.compilations) == (1, 0)
    assert outcome.machine is not None
    assert outcome.machine.cores == tuple(sorted({*cores.service, *cores.generator}))
    assert outcome.machine.own_ns is not None
    assert outcome.machine.own_ns > 0
    assert steady.machine is not None
    assert steady.machine.own_ns is None  # of a service that is not ours


def test_a_cell_that_was_never_begun_says_why() -> None:
    outcome = failed_cell(CELL, Surroundings(), "no service")
    assert (outcome.started, outcome.scenario, outcome.error) == (0, None, "no service")
