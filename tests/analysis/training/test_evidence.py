"""Training campaigns are sealed, verified and packed like runs of load tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.evidence.capsule import pack, unpacked
from analysis.evidence.verification import verify_run
from contract.records.load import SUMMARY_FILE
from contract.records.seal import seal_folder
from contract.records.training import PREDICTIONS_FILE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sealed(save_run: Callable[..., Path]) -> Path:
    """A campaign as `hemabench train` leaves it: without a report."""
    for framework in ("pytorch", "flax"):
        folder = save_run(framework)
    seal_folder(folder)
    return folder


def report(folder: Path) -> None:
    command = [sys.executable, "-m", "cli", "report", str(folder), "--cache", str(folder / "no-cache")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_before_a_report_the_files_hold_and_after_it_the_numbers_too(sealed: Path) -> None:
    found = verify_run(sealed)
    assert (found.faults, found.files, found.numbers) == ((), 4, 0)
    report(sealed)
    found = verify_run(sealed)
    assert (found.faults, found.files) == ((), 6)
    assert found.numbers > 50


def test_a_campaign_holds_in_its_capsule_under_any_name(sealed: Path, tmp_path: Path) -> None:
    report(sealed)
    renamed = sealed.rename(sealed.with_name("renamed"))
    with unpacked(pack(renamed, tmp_path / "campaign.zip")) as folder:
        assert verify_run(folder).faults == ()


def test_an_answer_that_was_changed_is_named(sealed: Path) -> None:
    answers = next(sealed.glob(f"*/{PREDICTIONS_FILE}"))
    answers.write_bytes(answers.read_bytes()[:-1] + b"?")
    assert verify_run(sealed).faults == (f"{answers.relative_to(sealed)}: its bytes are not those that were sealed",)


def test_an_accuracy_that_does_not_follow_from_the_answers_is_named(sealed: Path) -> None:
    report(sealed)
    numbers = json.loads((sealed / SUMMARY_FILE).read_text())
    numbers["networks"][0]["runs"]["hemanet-28px-flax-s0"]["accuracy"]["value"] += 0.01
    (sealed / SUMMARY_FILE).write_text(json.dumps(numbers))
    seal_folder(sealed)  # by somebody who knows of the seal
    (fault,) = verify_run(sealed).faults
    assert fault.startswith("summary.json: networks[0].runs.hemanet-28px-flax-s0.accuracy.value is ")
