"""A run folder is changed in every way, and what was changed must be named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.chapters import tell, whole_page
from analysis.evidence.verification import verify_run
from analysis.telling import Asked
from contract.errors import RunInvalid
from contract.records.load import REPORT_FILE, SUMMARY_FILE
from contract.records.seal import seal_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sealed(build, tmp_path: Path) -> Path:
    """A run as `hemabench run` leaves it."""
    folder = build.write(tmp_path / "run", runtimes=("pytorch", "onnx"), requests=120)
    told = tell(folder, Asked(baseline="onnx"))
    (folder / REPORT_FILE).write_text(whole_page(folder, told))
    (folder / SUMMARY_FILE).write_text(told.numbers)
    seal_folder(folder)
    return folder


def hemabench(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.acceptance("D7")
def test_a_run_that_nobody_touched_holds(sealed: Path) -> None:
    found = verify_run(sealed)
    assert found.faults == ()
    assert found.files == sum(path.is_file() for path in sealed.rglob("*")) - 1
    assert found.numbers > 100


def change_numbers(folder: Path, change) -> None:
    numbers = json.loads((folder / SUMMARY_FILE).read_text())
    change(numbers)
    (folder / SUMMARY_FILE).write_text(json.dumps(numbers))
    seal_folder(folder)  # by somebody who knows of the seal


def test_a_number_that_does_not_follow_from_the_records_is_named_with_its_place(sealed: Path) -> None:
    def faster(numbers) -> None:
        numbers["contenders"][0]["figures"]["response_p50_ns"]["value"] *= 0.97

    change_numbers(sealed, faster)
    (fault,) = verify_run(sealed).faults
    assert fault.startswith("summary.json: contenders[0].figures.response_p50_ns.value is ")
    assert "; the records give " in fault


def test_a_number_that_is_gone_is_named(sealed: Path) -> None:
    change_numbers(sealed, lambda numbers: numbers["contenders"][0].pop("figures"))
    assert verify_run(sealed).faults == ("summary.json: contenders[0].figures is in the records alone",)


def test_a_report_of_other_numbers_is_named(sealed: Path) -> None:
    report = sealed / REPORT_FILE
    report.write_text(report.read_text().replace("ms", "us", 1))
    seal_folder(sealed)
    assert verify_run(sealed).faults == ("report.html: the report that these records give is another one",)


def test_a_changed_record_is_named_and_its_numbers_are_not_believed(sealed: Path) -> None:
    journal = next(sealed.glob("cells/pytorch*/requests.journal"))
    journal.write_bytes(journal.read_bytes().replace(b'"status":200', b'"status":201', 1))
    first, *others = verify_run(sealed).faults
    assert first == f"{journal.relative_to(sealed)}: its bytes are not those that were sealed"
    assert any(fault.startswith(SUMMARY_FILE) for fault in others)


def test_a_run_without_its_numbers_does_not_hold(sealed: Path) -> None:
    (sealed / SUMMARY_FILE).unlink()
    assert any("cannot be derived again" in fault for fault in verify_run(sealed).faults)


def test_a_run_that_nobody_reported_says_so(build, tmp_path: Path) -> None:
    folder = build.write(tmp_path / "run", requests=40)
    seal_folder(folder)
    (fault,) = verify_run(folder).faults
    assert fault.startswith("summary.json: no numbers were made")
    assert hemabench("report", folder).returncode == 0
    assert verify_run(folder).holds


def test_an_unreadable_plan_is_a_fault_and_no_crash(sealed: Path) -> None:
    (sealed / "run.json").write_bytes(b"\xff{")
    assert verify_run(sealed).faults[0].startswith("run.json: its bytes")


def test_a_run_without_a_seal_cannot_be_verified(build, tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match="has no seal"):
        verify_run(build.write(tmp_path, requests=40))


@pytest.mark.acceptance("D7")
def test_the_command_packs_a_run_verifies_it_elsewhere_and_names_what_was_changed(sealed: Path, tmp_path: Path) -> None:
    capsule = tmp_path / "elsewhere" / "run.zip"
    packed = hemabench("capsule", sealed, "--out", capsule, "--json")
    assert packed.returncode == 0, packed.stderr
    assert json.loads(packed.stdout) == {
        "run": sealed.name,
        "capsule": str(capsule),
        "size_bytes": capsule.stat().st_size,
        "seal_digest": verify_run(sealed).seal_digest,
    }
    assert hemabench("verify", capsule).returncode == 0
    with (sealed / "run.json").open("ab") as file:
        file.write(b" ")
    refused = hemabench("verify", sealed)
    assert refused.returncode == 1
    assert "run.json: its bytes" in refused.stdout
    assert "Next:" in refused.stderr
