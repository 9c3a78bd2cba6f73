from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import RunInvalid
from contract.records.load import StepOutcome
from contract.storage import write_json
from loadtest.generator.merging import merge_tallies, worker_folder
from loadtest.generator.plan import TALLY_FILE, LoadTally


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


def test_a_worker_whose_count_is_not_here_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match="shared folder"):
        merge_tallies(tmp_path, 2)


def test_the_latest_and_the_busiest_worker_stand_for_all(tmp_path: Path) -> None:
    for index, (late_ns, share) in enumerate([(7, 0.5), (3, 0.25)]):
        (worker_folder(tmp_path, index)).mkdir()
        tally = LoadTally(
            started=2, ok=1, failed=1, aborted=0, dropped=0, cpu_share=share, complete=True, late_ns=late_ns
        )
        write_json(worker_folder(tmp_path, index) / TALLY_FILE, tally)
    merged = merge_tallies(tmp_path, 2)
    assert (merged.late_ns, merged.cpu_share, merged.started, merged.workers) == (7, 0.5, 4, 2)
