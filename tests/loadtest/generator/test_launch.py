from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from contract.errors import RunInvalid
from contract.records.journal import read_journal
from contract.records.load import ABORTED, REQUESTS_FILE, Cell, RequestRecord
from contract.statistics.rates import holds_limit, keeps_up
from contract.storage import read_json
from contract.timing import NS_PER_S
from loadtest.campaign.cells import Surroundings, imbalance, measure_cell
from loadtest.generator.launch import Ticking, offer
from loadtest.generator.plan import TALLY_FILE, LoadPlan, LoadTally
from loadtest.scenarios import arrivals_of
from loadtest.steps import LONGEST_SEARCH, SEARCH_RESOLUTION

STALL_S = 2.0


def records_of(plan: LoadPlan) -> tuple[RequestRecord, ...]:
    journal = read_journal(Path(plan.record_to) / REQUESTS_FILE, RequestRecord)
    assert not journal.torn
    return journal.records


def percentile_s(records: tuple[RequestRecord, ...], share: float) -> float:
    times = [record.response_time_ns for record in records if record.phase == "measured"]
    return float(np.percentile(times, share)) / NS_PER_S


def kill_generator_of(plan: LoadPlan) -> Ticking:
    """Kills it as the kernel would when memory runs out, once some records are written."""
    journal = Path(plan.record_to) / REQUESTS_FILE

    def kill(elapsed_s: float) -> None:
        if not journal.exists() or journal.stat().st_size < 2_000:
            return
        for child in psutil.Process().children(recursive=True):
            if "locust" in child.cmdline() and "loadtest.service.guard" not in child.cmdline():
                child.kill()

    return kill


@pytest.mark.acceptance("D1")
def test_every_failure_is_counted_once_and_by_its_kind(
    fake_service: Callable, make_plan: Callable, truth_at: Callable
) -> None:
    faults = {
        "2": "http_503",
        "3": "http_503",
        "5": "no_class",
        "7": "cut",
        "9": "reset",
        "11": "garbage",
        "13": "hang",
    }
    plan = make_plan(duration_s=4.0, timeout_s=2.0)
    with fake_service(service_ms=5, faults=faults) as service:
        tally = offer(service.url, plan)
        truth = truth_at(service.url)
    failures = Counter(record.failure for record in records_of(plan) if not record.ok)
    assert failures == {"http_503": 2, "bad_answer": 2, "connection_lost": 2, "timeout": 1}
    assert (tally.failed, tally.aborted, tally.dropped, tally.complete) == (7, 0, 0, True)
    assert tally.started == truth["requests"] == tally.ok + tally.failed
    assert tally.ok == truth["ok"]


def test_the_last_answer_of_a_closed_loop_is_waited_for_until_it_times_out(
    fake_service: Callable, make_plan: Callable
) -> None:
    plan = make_plan(duration_s=0.5, timeout_s=1.5, drain_s=0.1)
    with fake_service(service_ms=5, faults={"20": "hang"}) as service:
        tally = offer(service.url, plan)
    assert (tally.failed, tally.aborted) == (1, 0)
    assert records_of(plan)[-1].failure == "timeout"


def test_known_service_times_are_recovered(fake_service: Callable, make_plan: Callable, truth_at: Callable) -> None:
    """p50 within 3 %, p99 within 10 %: a busy machine may spoil some attempts, a wrong harness spoils every one.

    The times are long, so that what the machine adds is small beside them.
    """
    errors = []
    for attempt in range(6):
        plan = make_plan(duration_s=6.0, record_to=str(tmp_folder_of(make_plan) / f"attempt-{attempt}"))
        with fake_service(service_ms=120, slow_ms=480, slow_every=10) as service:
            offer(service.url, plan)
            truth = truth_at(service.url)
        records = records_of(plan)
        assert [record.parts_ns["infer"] for record in records] == truth["service_ns"]  # joined, to the nanosecond
        assert all(record.round_trip_time_ns > record.parts_ns["total"] for record in records)
        true_s = np.percentile(np.array(truth["service_ns"]) / NS_PER_S, [50, 99])
        errors.append([percentile_s(records, share) / true - 1 for share, true in zip((50, 99), true_s, strict=True)])
        if errors[-1][0] < 0.03 and errors[-1][1] < 0.10:
            return
    pytest.fail(f"relative errors of p50 and p99: {errors}")


def tmp_folder_of(make_plan: Callable) -> Path:
    """The folder of this test."""
    return Path(make_plan().record_to).parent


def test_a_stall_shows_in_the_open_loop_and_hides_in_the_closed_one(
    fake_service: Callable, make_plan: Callable, tmp_path: Path
) -> None:
    open_loop = make_plan(rate_per_s=50, duration_s=6.0, record_to=str(tmp_path / "open"))
    closed_loop = make_plan(duration_s=4.0, record_to=str(tmp_path / "closed"))
    with fake_service(service_ms=1, stalls_s={"40": STALL_S}) as service:
        offer(service.url, open_loop)
    with fake_service(service_ms=1, stalls_s={"40": STALL_S}) as service:
        offer(service.url, closed_loop)
    assert percentile_s(records_of(open_loop), 95) > 1.5
    assert percentile_s(records_of(closed_loop), 95) < STALL_S / 4
    assert percentile_s(records_of(closed_loop), 100) > STALL_S  # recorded, and drowned by the rest


def test_an_open_loop_keeps_to_its_schedule(fake_service: Callable, make_plan: Callable) -> None:
    plan = make_plan(rate_per_s=80, warmup_s=0.5, duration_s=1.5)
    with fake_service(service_ms=1) as service:
        tally = offer(service.url, plan)
    records = sorted(records_of(plan), key=lambda record: record.request)
    arrivals = arrivals_of(plan.scenario)
    scheduled = np.array([record.scheduled_ns for record in records])
    assert tally.started == len(arrivals)
    assert np.array_equal(
        scheduled - scheduled[0], arrivals - arrivals[0]
    )  # exactly as drawn, however late it was sent
    assert all(record.send_delay_ns >= 0 for record in records)
    assert any(record.connect_ns > 0 for record in records)  # the first had no connection to use
    assert all(0 <= record.connect_ns + record.receive_ns < record.round_trip_time_ns for record in records)
    assert sum(record.phase == "warmup" for record in records) == int((arrivals < 0.5 * NS_PER_S).sum())


def test_arrivals_beyond_the_limit_in_flight_are_dropped_and_counted(
    fake_service: Callable, make_plan: Callable
) -> None:
    plan = make_plan(rate_per_s=100, duration_s=1.5, in_flight_limit=2)
    with fake_service(service_ms=50) as service:
        tally = offer(service.url, plan)
    assert tally.dropped > 0
    assert tally.started + tally.dropped == len(arrivals_of(plan.scenario))
    assert tally.started == tally.ok == len(records_of(plan))


def test_requests_without_an_answer_at_the_end_are_recorded_as_aborted(
    fake_service: Callable, make_plan: Callable
) -> None:
    plan = make_plan(rate_per_s=2, arrivals="constant", duration_s=1.5, drain_s=0.3)
    with fake_service(faults={"all": "hang"}) as service:
        tally = offer(service.url, plan)
    assert tally.started == tally.aborted == len(arrivals_of(plan.scenario)) > 0
    assert [record.failure for record in records_of(plan)] == [ABORTED] * tally.started


@pytest.mark.acceptance("D3")
def test_a_generator_killed_in_the_middle_leaves_its_records_and_no_doubt(
    fake_service: Callable, make_plan: Callable
) -> None:
    plan = make_plan(duration_s=60.0)
    cell = Cell(runtime="fake", resolution_px=28, scenario="closed_loop")
    with fake_service(service_ms=5) as service:
        outcome = measure_cell(
            service.url, cell, plan, Surroundings(), service=service, ticking=kill_generator_of(plan)
        )
    assert outcome.error is not None
    assert "status 137" in outcome.error
    assert not (Path(plan.record_to) / TALLY_FILE).exists()
    records = read_journal(Path(plan.record_to) / REQUESTS_FILE, RequestRecord).records
    assert outcome.ok == len(records) > 0
    # A killed generator cannot say what was in flight: at one user that is one request.
    assert outcome.answered_by_service is not None
    assert 0 <= outcome.answered_by_service - outcome.ok <= 1


@pytest.mark.acceptance("D6")
def test_a_full_disk_ends_the_load_loudly(
    fake_service: Callable, make_plan: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loadtest.generator import launch as generator

    command = generator._command

    def on_a_small_disk(url: str, plan: LoadPlan, workers: int) -> list[str]:
        # No file of this process may grow beyond 16 kB: to the writer that is a full disk.
        return ["prlimit", "--fsize=16384", "--", *command(url, plan, workers)]

    monkeypatch.setattr(generator, "_command", on_a_small_disk)
    plan = make_plan(duration_s=30.0)
    with fake_service() as service, pytest.raises(RunInvalid, match=r"(?s)status 3.*broke off"):
        offer(service.url, plan)
    tally = read_json(Path(plan.record_to) / TALLY_FILE, LoadTally)
    assert not tally.complete
    records = read_journal(Path(plan.record_to) / REQUESTS_FILE, RequestRecord).records
    assert len(records) == tally.ok > 0


def test_images_that_are_not_there_are_named_before_anything_is_sent(make_plan: Callable, tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match=r"(?s)no data set in .*hemabench data"):
        offer("http://127.0.0.1:9", make_plan(dataset=str(tmp_path)))


def test_offline_all_are_due_at_once_and_so_many_under_way_as_there_are_users(
    fake_service: Callable, make_plan: Callable
) -> None:
    plan = make_plan(kind="offline", requests=60, users=4, warmup_s=0.5, duration_s=20.0)
    with fake_service(service_ms=5) as service:
        tally = offer(service.url, plan)
    records = [record for record in records_of(plan) if record.phase == "measured"]
    assert (tally.started, tally.ok, tally.dropped) == (66, 66, 0)
    assert len({record.scheduled_ns for record in records}) == 1
    assert most_under_way(records) == 4
    assert max(record.response_time_ns for record in records) > 60 * 0.005 * NS_PER_S


def most_under_way(records: list[RequestRecord]) -> int:
    """The largest number of requests that were sent and not yet answered."""
    changes = sorted([(record.sent_ns, 1) for record in records] + [(record.finished_ns, -1) for record in records])
    return int(np.cumsum([change for _, change in changes]).max())


def test_a_ladder_climbs_until_the_service_no_longer_keeps_up(fake_service: Callable, make_plan: Callable) -> None:
    plan = make_plan(kind="ladder", rate_per_s=2, rate_growth=10.0, duration_s=2.0, arrivals="constant")
    with fake_service(service_ms=10) as service:
        tally = offer(service.url, plan)
    assert tally.complete
    rates = [step.rate_per_s for step in tally.steps]
    assert rates in ([2, 20], [2, 20, 200])  # it can do 100/s at most; a machine that stands still may miss 20
    assert [keeps_up(step) for step in tally.steps] == [True] * (len(rates) - 1) + [False]
    assert [step.due for step in tally.steps] == [2 * round(rate or 0) for rate in rates]
    by_step = Counter(record.step for record in records_of(plan))
    assert by_step == {number: 2 * round(rate or 0) for number, rate in enumerate(rates)}


def test_the_search_finds_what_the_service_can_carry(
    fake_service: Callable, make_plan: Callable, truth_at: Callable
) -> None:
    limits = {"p99_limit_s": 0.1, "rate_growth": 2.0, "arrivals": "constant"}
    plan = make_plan(kind="find_rate", rate_per_s=150, duration_s=1.0, in_flight_limit=100, **limits)
    with fake_service(service_ms=4) as service:
        tally = offer(service.url, plan)
        capacity_per_s = NS_PER_S / min(truth_at(service.url)["service_ns"])
    assert tally.complete
    rates = [(step.rate_per_s or 0.0, keeps_up(step) and holds_limit(step)) for step in tally.steps]
    missed = min(rate for rate, passed in rates if not passed)
    passed = max((rate for rate, passed in rates if passed and rate < missed), default=0.0)
    # What it carries is never more than it can do, and how much less depends on what else the machine does.
    assert passed < 1.05 * capacity_per_s
    assert missed <= SEARCH_RESOLUTION * passed or len(rates) == LONGEST_SEARCH


def test_the_generator_tells_its_own_share_of_a_core(fake_service: Callable, make_plan: Callable) -> None:
    with fake_service(service_ms=1) as service:
        tally = offer(service.url, make_plan(duration_s=1.0), cores=())
    assert 0 < tally.cpu_share <= 1.2
    assert imbalance(tally, Counter(ok=tally.ok)) is None
