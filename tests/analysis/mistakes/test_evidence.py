"""Runs of mistakes are sealed, verified and packed like runs of load tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.evidence.capsule import pack, unpacked
from analysis.evidence.verification import verify_run
from commands.report import conclude
from contract.records.load import SUMMARY_FILE
from contract.records.mistakes import BURSTS_FILE
from contract.records.seal import seal_folder


@pytest.fixture
def sealed(record: Callable[..., Path], build: dict[str, Callable]) -> Path:
    """A run as `hemabench mistakes` leaves it."""
    times = build["careful"](8, 4, 6) | {("tensorflow", "looped"): [50 * 100_000] * 700}
    folder = record(times, build["mistake"]())
    seal_folder(folder)
    conclude(folder, as_json=True)
    return folder


def test_a_run_that_nobody_touched_holds_here_and_in_its_capsule(sealed: Path, tmp_path_factory) -> None:
    found = verify_run(sealed)
    assert (found.faults, found.numbers > 50) == ((), True)
    with unpacked(pack(sealed, tmp_path_factory.mktemp("elsewhere") / "run.zip")) as folder:
        assert verify_run(folder) == found


def test_a_call_that_was_changed_is_named(sealed: Path) -> None:
    (sealed / BURSTS_FILE).write_bytes((sealed / BURSTS_FILE).read_bytes()[:-500])
    assert verify_run(sealed).faults[0] == f"{BURSTS_FILE}: its bytes are not those that were sealed"


def test_a_factor_that_does_not_follow_from_the_calls_is_named(sealed: Path) -> None:
    numbers = json.loads((sealed / SUMMARY_FILE).read_text())
    numbers["effects"][0]["factors"]["tensorflow"]["value"] *= 2
    (sealed / SUMMARY_FILE).write_text(json.dumps(numbers))
    seal_folder(sealed)  # by somebody who knows of the seal
    (fault,) = verify_run(sealed).faults
    assert fault.startswith("summary.json: effects[0].factors.tensorflow.value is ")
