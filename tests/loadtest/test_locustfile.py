"""The locustfile by itself, as people start it who know Locust."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.records.journal import read_journal
from contract.records.load import REQUESTS_FILE, RequestRecord
from contract.storage import read_json
from loadtest.generator.plan import TALLY_FILE, LoadTally
from loadtest.service.processes import CODE, guarded_process, last_lines
from loadtest.service.server import free_port

LOCUSTFILE = CODE / "loadtest" / "locustfile.py"
NOWHERE = "http://127.0.0.1:9"


def locust_command(*options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("locust")), "-f", str(LOCUSTFILE), *options]


def run_locust(*options: str, folder: Path = CODE) -> subprocess.CompletedProcess[str]:
    """Locust's own command, from the code's folder, where it needs no PYTHONPATH."""
    environment = os.environ if folder == CODE else os.environ | {"PYTHONPATH": str(CODE)}
    return subprocess.run(
        locust_command("--headless", *options), cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_it_runs_plainly_and_ends_by_itself(fake_service: Callable, noise_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    load = ["--scenario", "open_loop", "--arrival-rate", "60", "--warmup", "0.2", "--duration", "1"]
    with fake_service(service_ms=2) as service:
        done = run_locust("--host", service.url, "--dataset", str(noise_folder), "--record-to", str(folder), *load)
    assert done.returncode == 0, done.stderr
    assert "classify 28px" in done.stderr  # where Locust prints its tables
    tally = read_json(folder / TALLY_FILE, LoadTally)
    assert tally.complete
    assert len(read_journal(folder / REQUESTS_FILE, RequestRecord).records) == tally.started == tally.ok > 0


def test_failed_requests_give_locusts_own_exit_status(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    with fake_service(faults={"all": "http_503"}) as service:
        done = run_locust(
            *("--host", service.url, "--dataset", str(noise_folder), "--record-to", str(tmp_path / "records")),
            *("--warmup", "0", "--duration", "0.5"),
        )
    assert done.returncode == 1
    assert "http_503" in done.stdout + done.stderr


def test_records_are_never_written_over(fake_service: Callable, noise_folder: Path, tmp_path: Path) -> None:
    (tmp_path / REQUESTS_FILE).write_text("precious")
    with fake_service() as service:
        done = run_locust("--host", service.url, "--dataset", str(noise_folder), "--record-to", str(tmp_path))
    assert done.returncode == 3
    assert (tmp_path / REQUESTS_FILE).read_text() == "precious"


def test_without_images_it_names_the_command_that_makes_them(tmp_path: Path) -> None:
    done = run_locust("--host", NOWHERE, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("Next: hemabench data")
    assert "Traceback" not in done.stderr


def test_it_runs_with_workers_of_locusts_own_making(fake_service: Callable, noise_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    load = ["--scenario", "open_loop", "--arrival-rate", "60", "--warmup", "0", "--duration", "1", "--users", "2"]
    port = str(free_port())
    crew = ["--processes", "2", "--spawn-rate", "2", "--master-bind-port", port, "--master-port", port]
    with fake_service(service_ms=2) as service:
        place = ["--host", service.url, "--dataset", str(noise_folder), "--record-to", str(folder)]
        done = run_locust(*place, *load, *crew)
    assert done.returncode == 0, done.stderr
    tally = read_json(folder / TALLY_FILE, LoadTally)
    assert (tally.workers, tally.complete) == (2, True)
    assert len(read_journal(folder / REQUESTS_FILE, RequestRecord).records) == tally.ok > 0


def test_the_stop_of_a_person_leaves_whole_books(fake_service: Callable, noise_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    options = ["--dataset", str(noise_folder), "--record-to", str(folder), "--duration", "60", "--users", "2"]
    with fake_service(service_ms=20) as service:
        command = locust_command("--headless", "--host", service.url, *options)
        with guarded_process(command, log=tmp_path / "log"):  # which sends SIGTERM at its end
            wait_for(lambda: (folder / REQUESTS_FILE).exists() and (folder / REQUESTS_FILE).stat().st_size > 3_000)
    tally = read_json(folder / TALLY_FILE, LoadTally)
    assert not tally.complete
    assert tally.started == tally.ok + tally.aborted
    assert 1 <= tally.aborted <= 2
    assert len(read_journal(folder / REQUESTS_FILE, RequestRecord).records) == tally.started


def test_the_web_page_starts_one_test_after_another(fake_service: Callable, noise_folder: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = f"http://127.0.0.1:{port}"
    options = ["--web-host", "127.0.0.1", "--web-port", str(port), "--dataset", str(noise_folder), "--warmup", "0"]
    log = tmp_path / "log"
    with (
        fake_service(service_ms=2) as service,
        guarded_process(locust_command(*options, "--host", service.url), log=log, grace_s=2),
    ):
        wait_for(lambda: answers(page))
        for number, scenario in enumerate(("closed_loop", "open_loop")):
            folder = tmp_path / f"records-{number}"
            form = {"user_count": 2, "spawn_rate": 2, "host": service.url, "scenario": scenario, "arrival_rate": 30.0}
            form |= {"duration": 0.7, "record_to": str(folder)}
            post(f"{page}/swarm", form)
            wait_for(lambda folder=folder: (folder / TALLY_FILE).exists(), log)
            assert read_json(folder / TALLY_FILE, LoadTally).complete
            assert read_json(folder / TALLY_FILE, LoadTally).ok > 0


def wait_for(condition: Callable[[], bool], log: Path | None = None) -> None:
    """Return when ``condition`` holds; fail after half a minute."""
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(last_lines(log) if log else "waited in vain")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def post(url: str, form: dict[str, object]) -> None:
    with urllib.request.urlopen(url, data=urllib.parse.urlencode(form).encode(), timeout=10) as response:
        assert response.status == 200
