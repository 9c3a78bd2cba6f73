"""One set of books from those of several workers; no percentile is ever made of percentiles.

<cell>/worker-<index>/    the requests.journal and generator.json of one worker; they stay
<cell>/                   the same of all workers together
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from contract.errors import RunInvalid
from contract.records.journal import JournalWriter, read_journal
from contract.records.load import REQUESTS_FILE, RequestRecord, StepOutcome
from contract.storage import read_json
from loadtest.generator.plan import TALLY_FILE, LoadTally


def worker_folder(folder: Path, index: int) -> Path:
    """Where the records of one worker are."""
    return folder / f"worker-{index}"


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
        late_ns=max(tally.late_ns for tally in tallies),
    )


def _agreed_steps(tallies: Sequence[LoadTally]) -> tuple[StepOutcome, ...]:
    """Every worker keeps the sums that were agreed on; one that is stopped may not have heard the last."""
    return max((tally.steps for tally in tallies), key=len)


def _tally_in(folder: Path) -> LoadTally:
    if not (folder / TALLY_FILE).is_file():
        raise RunInvalid(f"{folder} has no count of a worker. Next: let all workers write to one shared folder")
    return read_json(folder / TALLY_FILE, LoadTally)
