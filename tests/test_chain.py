"""The whole chain by its own command, on rendered cells: images to report, interrupted, resumed, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from analysis.load.runs import load_run
from analysis.load.summary import summarise
from contract.records.load import REPORT_FILE
from contract.timing import PARTS, TOTAL

ROOT = Path(__file__).parents[1]
RUNTIMES = ("onnx", "pytorch")


def chain(folder: Path, *words: str) -> list[str]:
    """`hemabench run` in its smallest form, everything but the committed weights in ``folder``."""
    command = [sys.executable, "-m", "cli", "run", "--profile", "smoke", "--data", "synthetic"]
    command += ["--cache", str(folder / "cache"), "--artifacts", str(folder / "artifacts")]
    command += ["--results", str(folder / "results"), *words]
    return command + [word for runtime in RUNTIMES for word in ("--runtime", runtime)]


def only_run(folder: Path) -> Path:
    (run,) = (folder / "results").iterdir()
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run that went through, and what it said."""
    folder = tmp_path_factory.mktemp("chain")
    return folder, subprocess.run(chain(folder), cwd=ROOT, capture_output=True, text=True, check=False)


def wait_for_a_finished_cell(folder: Path, process: subprocess.Popen[bytes], deadline_s: float = 120) -> None:
    until = time.monotonic() + deadline_s
    while not list(folder.glob("results/*/cells/*/cell.json")):
        assert process.poll() is None, "the run ended before it was stopped"
        assert time.monotonic() < until, "no cell was finished"
        time.sleep(0.02)


def services_of(folder: Path) -> list[psutil.Process]:
    """Every process that names ``folder``, in its command line or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(folder / "artifacts") in word for word in words):
            found.append(process)
    return found


def wait_for_no_process(folder: Path, deadline_s: float = 60) -> None:
    until = time.monotonic() + deadline_s
    while left := services_of(folder):
        assert time.monotonic() < until, f"left behind: {left}"
        time.sleep(0.1)


def test_the_chain_goes_through_and_says_that_the_cells_are_rendered(finished):
    folder, said = finished
    assert said.returncode == 0, said.stderr[-3000:]
    assert "accuracy is not" in said.stderr
    assert "accuracy is not" in said.stdout
    assert (only_run(folder) / REPORT_FILE).is_file()


def test_every_cell_has_a_verdict_and_answers_as_without_http(finished):
    folder, _ = finished
    run = load_run(only_run(folder))
    expected = {(runtime, scenario) for runtime in RUNTIMES for scenario in ("closed_loop", "open_loop")}
    assert {(cell.cell.runtime, cell.cell.scenario) for cell in run.cells} == expected | {("null", "closed_loop")}
    summary = summarise(run)
    assert all(cell.verdict.status == "valid" or cell.verdict.disturbed for cell in summary.cells)
    assert sum(len(cell.requests.answers()) for cell in run.cells) > 50


def test_the_parts_of_every_request_add_up_to_what_its_user_waited(finished):
    folder, _ = finished
    for cell in load_run(only_run(folder)).cells:
        answers = cell.requests.answers()
        total, parts = answers.parts_ns[TOTAL], sum(answers.parts_ns[part] for part in PARTS)
        network = answers.round_trip_time_ns - total - answers.connect_ns - answers.receive_ns
        accounted = answers.send_delay_ns + answers.connect_ns + network + parts + answers.receive_ns
        assert (network > 0).all()  # nothing is counted twice
        gap = np.abs(answers.response_time_ns - accounted)
        assert (gap <= np.maximum(answers.response_time_ns // 100, 20_000)).all()


def test_the_report_can_be_made_again_from_the_records_alone(finished):
    folder, _ = finished
    run = only_run(folder)
    first = (run / REPORT_FILE).read_bytes()
    (run / REPORT_FILE).unlink()
    command = [sys.executable, "-m", "cli", "report", str(run), "--json"]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert json.loads(again.stdout)["plan"]["run"] == run.name
    assert (run / REPORT_FILE).read_bytes() == first


@pytest.mark.acceptance("D7")
def test_what_the_chain_leaves_can_be_verified_and_compared(finished):
    run = only_run(finished[0])
    for words in (["verify", run], ["compare", run, run]):
        command = [sys.executable, "-m", "cli", *map(str, words)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if words[0] == "compare" and "no valid cell in common" in said.stderr:
            continue  # a machine with other work makes every cell invalid
        assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_keeps_what_it_had_and_can_be_resumed(how, finished, tmp_path):
    folder, _ = finished
    for shared in ("cache", "artifacts"):
        (tmp_path / shared).symlink_to(folder / shared)
    with subprocess.Popen(
        chain(tmp_path),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # also where a shell ignores it
    ) as process:
        wait_for_a_finished_cell(tmp_path, process)
        process.send_signal(how)
        said = process.communicate()[1].decode()
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    wait_for_no_process(tmp_path)

    run = only_run(tmp_path)
    stopped = summarise(load_run(run))
    missing = [cell.cell.name for cell in stopped.cells if cell.verdict.status == "missing"]
    assert missing
    assert len(missing) < len(stopped.cells)
    command = [sys.executable, "-m", "cli", "report", str(run)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert all(name in shown.stdout for name in missing)
    if how == signal.SIGINT:
        assert f"--resume {run.name}" in said

    resumed = subprocess.run(chain(tmp_path, "--resume", run.name), cwd=ROOT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert not [cell for cell in summarise(load_run(run)).cells if cell.verdict.status == "missing"]
