"""One cell: a scenario offered to a running service, and the books balanced afterwards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import HemaBenchError, RunInvalid
from contract.records.journal import read_journal
from contract.records.load import ABORTED, REQUESTS_FILE, Cell, CellOutcome, RequestRecord
from contract.timing import NS_PER_S
from loadtest.generator.launch import Ticking, offer
from loadtest.generator.plan import LoadPlan, LoadTally
from loadtest.service.machine import MachineWatch
from loadtest.service.processes import NOT_PINNED, CoreSplit
from loadtest.service.server import RunningService, ServiceReport, ask_service


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known of the place where a cell is measured. ``digest`` is the artifact that the plan names."""

    cores: CoreSplit = NOT_PINNED
    start_up_s: float | None = None
    digest: str | None = None
    load_average: float = field(default_factory=lambda: os.getloadavg()[0])


def measure_cell(
    url: str,
    cell: Cell,
    plan: LoadPlan,
    surroundings: Surroundings,
    *,
    service: RunningService | None = None,
    ticking: Ticking = lambda elapsed_s: None,
    workers: int = 1,
) -> CellOutcome:
    """Carry out ``plan`` against ``url``; what goes wrong is the outcome's ``error``, beside the records until then."""
    before = ask_service(url, cell.resolution_px)
    watch = MachineWatch(surroundings.cores, service.process.pid if service is not None else None)
    tally, error = None, None
    try:
        _require_digest(before, surroundings.digest)
        tally = offer(url, plan, cores=surroundings.cores.generator, ticking=_both(watch, ticking), workers=workers)
        if service is not None:
            service.require_alive()
    except HemaBenchError as failure:
        error = str(failure)
    machine = watch.finish()
    after = ask_service(url, cell.resolution_px)
    counts = count_records(Path(plan.record_to))
    return CellOutcome(
        cell=cell,
        scenario=plan.scenario,
        started=tally.started if tally is not None else sum(counts.values()),
        ok=counts["ok"],
        failed=counts["failed"],
        aborted=counts["aborted"],
        dropped=tally.dropped if tally is not None else 0,
        answered_by_service=_grown(before.answered, after.answered),
        start_up_s=surroundings.start_up_s,
        generator_cpu_share=tally.cpu_share if tally is not None else None,
        service_cores=surroundings.cores.service,
        generator_cores=surroundings.cores.generator,
        load_average=surroundings.load_average,
        service_facts=before.facts,
        error=error or (imbalance(tally, counts) if tally is not None else None),
        steps=tally.steps if tally is not None else (),
        workers=workers,
        compilations=_grown(before.compilations, after.compilations),
        machine=machine,
    )


def failed_cell(cell: Cell, surroundings: Surroundings, error: str) -> CellOutcome:
    """The outcome of a cell in which nothing was sent."""
    return CellOutcome(
        cell=cell,
        scenario=None,
        started=0,
        ok=0,
        failed=0,
        aborted=0,
        dropped=0,
        answered_by_service=None,
        start_up_s=surroundings.start_up_s,
        generator_cpu_share=None,
        service_cores=surroundings.cores.service,
        generator_cores=surroundings.cores.generator,
        load_average=surroundings.load_average,
        service_facts={},
        error=error,
    )


def count_records(folder: Path) -> Counter[str]:
    """How many records of ``folder`` are ok, failed and aborted."""
    return Counter(_ending(record) for record in read_records(folder))


def imbalance(tally: LoadTally, counts: Counter[str]) -> str | None:
    """Why the generator's count and the journal cannot both be right; None when they agree.

    The journal is counted anew from the disk, so that a lost record shows.
    """
    ended = tally.ok + tally.failed + tally.aborted
    recorded = (counts["ok"], counts["failed"], counts["aborted"])
    if tally.started != ended or recorded != (tally.ok, tally.failed, tally.aborted):
        return (
            f"the books do not balance: the generator started {tally.started} requests and settled {tally.ok} ok, "
            f"{tally.failed} failed, {tally.aborted} aborted; the journal holds {recorded[0]}, {recorded[1]}, "
            f"{recorded[2]}. Next: repeat the cell; if it happens again, report it as a bug of the load test"
        )
    if not tally.complete:
        return "the load was stopped before its end. Next: repeat the cell"
    return None


def capacity_per_s(records: Sequence[RequestRecord]) -> float:
    """What a service got through in a closed loop of one user: positive answers per second, measured phase.

    From the first sending to the last answer, so the generator's own time between two
    requests is in it. One user never keeps a service wholly busy: this is a lower bound of
    the true capacity, and half of it a load that the service can carry.
    Raises `RunInvalid` without at least one answer.
    """
    answers = [record for record in records if record.phase == "measured" and record.ok]
    if not answers:
        raise RunInvalid("the closed loop had no positive answer to take a capacity from. Next: read the service's log")
    span_ns = max(record.finished_ns for record in answers) - min(record.sent_ns for record in answers)
    return len(answers) * NS_PER_S / span_ns


def read_records(folder: Path) -> tuple[RequestRecord, ...]:
    """The whole records in a cell's folder; none where no load was begun."""
    path = folder / REQUESTS_FILE
    return read_journal(path, RequestRecord).records if path.is_file() else ()


def _ending(record: RequestRecord) -> str:
    if record.ok:
        return "ok"
    return "aborted" if record.failure == ABORTED else "failed"


def _grown(before: int | None, after: int | None) -> int | None:
    """By how much a count of the service grew; None where it did not say."""
    return None if before is None or after is None else after - before


def _both(watch: MachineWatch, ticking: Ticking) -> Ticking:
    def tick(elapsed_s: float) -> None:
        watch.tick()
        ticking(elapsed_s)

    return tick


def _require_digest(report: ServiceReport, planned: str | None) -> None:
    if planned is not None and report.digest is not None and report.digest != planned:
        raise RunInvalid(
            f"the service holds artifact {report.digest[:12]}, the plan names {planned[:12]}. Next: hemabench export"
        )
