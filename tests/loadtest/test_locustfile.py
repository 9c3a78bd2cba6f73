"""The locustfile by itself, as people start it who know Locust."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

import pytest

from contract.records.journal import read_journal
from contract.records.load import REQUESTS_FILE, STEPPED_KINDS, RequestRecord
from contract.storage import read_json
from contract.timing import NS_PER_S
from loadtest.generator.plan import TALLY_FILE, LoadTally
from loadtest.scenarios import CLOSED_LOOP, KINDS
from loadtest.service.processes import CODE, guarded_process, last_lines
from loadtest.service.server import free_port

LOCUSTFILE = CODE / "loadtest" / "locustfile.py"
SHAPE = CODE / "loadtest" / "shape.py"
PATIENCE_S = 240  # far more than any of these loads takes; a hang fails here instead of in silence
NOWHERE = "http://127.0.0.1:9"


def locust_command(*options: str, files: Sequence[Path] = (LOCUSTFILE,)) -> list[str]:
    return [str(Path(sys.executable).with_name("locust")), "-f", ",".join(map(str, files)), *options]


def run_locust(
    *options: str, folder: Path = CODE, files: Sequence[Path] = (LOCUSTFILE,)
) -> subprocess.CompletedProcess[str]:
    """Locust's own command, from the code's folder, where it needs no PYTHONPATH."""
    environment = os.environ if folder == CODE else os.environ | {"PYTHONPATH": str(CODE)}
    command = locust_command("--headless", *options, files=files)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


# Every scenario, so short that a service of 2 ms is soon done with it.
SCENARIOS: dict[str, dict[str, object]] = {
    "closed_loop": {"duration": 0.7},
    "open_loop": {"arrival_rate": 60, "duration": 0.7},
    "soak": {"arrival_rate": 60, "arrivals": "constant", "duration": 0.7},
    "spike": {"arrival_rate": 30, "peak_rate": 120, "duration": 1},
    "offline": {"requests": 60, "duration": 60},
    "ladder": {"arrival_rate": 150, "duration": 0.7},
    "find_rate": {"arrival_rate": 600, "p99_ms": 50, "duration": 0.7},
}


def test_every_scenario_is_tried() -> None:
    assert set(SCENARIOS) == set(KINDS)


def options_of(scenario: str) -> list[str]:
    settings = {"scenario": scenario, "warmup": 0, **SCENARIOS[scenario]}
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def require_whole_books(folder: Path, scenario: str, workers: int = 1) -> None:
    """Everything that the scenario is about was offered, answered, counted and recorded."""
    tally = read_json(folder / TALLY_FILE, LoadTally)
    records = read_journal(folder / REQUESTS_FILE, RequestRecord).records
    assert (tally.complete, tally.workers, tally.failed) == (True, workers, 0)
    assert len(records) == tally.started
    assert tally.ok > 0
    assert {record.step for record in records} == {step.step for step in tally.steps}
    assert len(tally.steps) == 1 or scenario in STEPPED_KINDS
    if scenario == "offline":
        assert tally.ok == SCENARIOS[scenario]["requests"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_runs_plainly_and_ends_by_itself(
    scenario: str, fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "records"
    place = ["--dataset", str(noise_folder), "--record-to", str(folder)]
    with fake_service(service_ms=2) as service:
        done = run_locust("--host", service.url, *place, *options_of(scenario))
    assert done.returncode == 0, done.stderr
    assert "classify 28px" in done.stderr  # where Locust prints its tables
    require_whole_books(folder, scenario)


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


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "find_rate"])  # a ladder agrees as it does
def test_scenarios_run_with_workers_of_locusts_own_making(
    scenario: str, fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "records"
    port = str(free_port())
    crew = ["--processes", "2", "--users", "2", "--spawn-rate", "2", "--master-bind-port", port, "--master-port", port]
    with fake_service(service_ms=2) as service:
        place = ["--host", service.url, "--dataset", str(noise_folder), "--record-to", str(folder)]
        done = run_locust(*place, *options_of(scenario), *crew)
    assert done.returncode == 0, done.stderr
    require_whole_books(folder, scenario, workers=2)


def test_a_master_and_workers_that_people_start_share_one_load(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "records"
    port = str(free_port())
    worker = locust_command("--headless", "--worker", "--master-port", port)
    with ExitStack() as running:
        service = running.enter_context(fake_service(service_ms=2))
        for number in (1, 2):
            running.enter_context(guarded_process(worker, log=tmp_path / f"worker-{number}.log", grace_s=2))
        place = ["--host", service.url, "--dataset", str(noise_folder), "--record-to", str(folder)]
        crew = ["--master", "--master-bind-port", port, "--expect-workers", "2", "--users", "2", "--spawn-rate", "2"]
        done = run_locust(*place, *options_of("open_loop"), *crew)
    assert done.returncode == 0, done.stderr
    require_whole_books(folder, "open_loop", workers=2)


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


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_books_and_says_that_they_are_not_whole(
    workers: int, fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    folder, port = tmp_path / "records", str(free_port())
    crew = ["--processes", str(workers), "--master-bind-port", port, "--master-port", port] if workers > 1 else []
    options = ["--dataset", str(noise_folder), "--record-to", str(folder), "--duration", "60", "--users", "2"]
    written = folder / "worker-1" / REQUESTS_FILE if workers > 1 else folder / REQUESTS_FILE
    with fake_service(service_ms=20) as service:
        command = locust_command("--headless", "--host", service.url, *options, *crew)
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=CODE, start_new_session=True, **pipes) as process:
            wait_for(lambda: written.exists() and written.stat().st_size > 3_000)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
            _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, said
    assert said.count("stopped before its end") == 1
    tally = read_json(folder / TALLY_FILE, LoadTally)
    assert (tally.complete, tally.workers) == (False, workers)
    assert len(read_journal(folder / REQUESTS_FILE, RequestRecord).records) == tally.started > 0


def test_the_web_page_starts_every_scenario_one_after_another(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    options = ["--web-host", "127.0.0.1", "--web-port", str(port), "--dataset", str(noise_folder), "--warmup", "0"]
    log = tmp_path / "log"
    with (
        fake_service(service_ms=2) as service,
        guarded_process(locust_command(*options, "--host", service.url), log=log, grace_s=2),
    ):
        wait_for(lambda: answers(page), log)
        for scenario, settings in SCENARIOS.items():
            folder = tmp_path / scenario
            form = {"user_count": 2, "spawn_rate": 2, "host": service.url, "scenario": scenario, **settings}
            post(f"{page}/swarm", form | {"record_to": str(folder)})
            wait_for(lambda folder=folder: (folder / TALLY_FILE).exists(), log)
            require_whole_books(folder, scenario)


def test_a_test_that_was_stopped_on_the_page_does_not_end_the_next_one(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    options = ["--web-host", "127.0.0.1", "--web-port", str(port), "--dataset", str(noise_folder), "--warmup", "0"]
    stopped, next_one, log = tmp_path / "stopped", tmp_path / "next", tmp_path / "log"
    with (
        fake_service(service_ms=20) as service,
        guarded_process(locust_command(*options, "--host", service.url), log=log, grace_s=2),
    ):
        wait_for(lambda: answers(page), log)
        form = {"user_count": 1, "spawn_rate": 1, "host": service.url, "scenario": CLOSED_LOOP}
        post(f"{page}/swarm", form | {"record_to": str(stopped), "duration": 4})
        wait_for(lambda: (stopped / REQUESTS_FILE).exists(), log)
        post(f"{page}/stop", {})
        wait_for(lambda: (stopped / TALLY_FILE).exists(), log)
        # It begins before the first would have ended, and ends after.
        post(f"{page}/swarm", form | {"record_to": str(next_one), "duration": 6})
        wait_for(lambda: (next_one / TALLY_FILE).exists(), log)
    assert not read_json(stopped / TALLY_FILE, LoadTally).complete
    require_whole_books(next_one, CLOSED_LOOP)


def test_the_page_of_a_master_starts_one_load_after_another(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    page = f"http://127.0.0.1:{port}"
    with (
        fake_service(service_ms=2) as service,
        guarded_process(page_of_a_master(port, noise_folder), log=log, grace_s=2),
    ):
        wait_for(lambda: answers(page), log)
        for number in (1, 2):
            time.sleep(PAGE_IS_OLD_S)
            wait_for(lambda: is_idle(page), log)
            form = {"user_count": 2, "spawn_rate": 2, "host": service.url, "record_to": str(tmp_path / str(number))}
            post(f"{page}/swarm", form | {"scenario": "open_loop"} | SCENARIOS["open_loop"])
            wait_for(lambda number=number: (tmp_path / str(number) / TALLY_FILE).exists(), log)
            require_whole_books(tmp_path / str(number), "open_loop", workers=2)


def test_a_load_that_is_stopped_on_the_page_of_a_master_leaves_common_books(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    port, log, folder = free_port(), tmp_path / "log", tmp_path / "records"
    page = f"http://127.0.0.1:{port}"
    with (
        fake_service(service_ms=20) as service,
        guarded_process(page_of_a_master(port, noise_folder), log=log, grace_s=2),
    ):
        wait_for(lambda: answers(page) and is_idle(page), log)
        form = {"user_count": 2, "spawn_rate": 2, "host": service.url, "scenario": CLOSED_LOOP, "duration": 60}
        post(f"{page}/swarm", form | {"record_to": str(folder)})
        written = folder / "worker-1" / REQUESTS_FILE
        wait_for(lambda: written.exists() and written.stat().st_size > 3_000, log)
        post(f"{page}/stop", {})
        wait_for(lambda: (folder / TALLY_FILE).exists(), log)
        wait_for(lambda: is_idle(page), log)
    assert "stopped before its end" in log.read_text()
    tally = read_json(folder / TALLY_FILE, LoadTally)
    assert (tally.complete, tally.workers) == (False, 2)
    assert len(read_journal(folder / REQUESTS_FILE, RequestRecord).records) == tally.started > 0


def page_of_a_master(port: int, dataset: Path) -> list[str]:
    """Locust's page in front of two workers."""
    bound = str(free_port())
    crew = ["--processes", "2", "--master-bind-port", bound, "--master-port", bound]
    page = ["--web-host", "127.0.0.1", "--web-port", str(port)]
    return locust_command(*crew, *page, "--dataset", str(dataset), "--warmup", "0")


PAGE_IS_OLD_S = 2.5  # Locust answers with the same figures for 2 s


def is_idle(page: str) -> bool:
    """Whether two workers wait for a load at the master behind ``page``, and it for somebody to start one."""
    with urllib.request.urlopen(f"{page}/stats/requests", timeout=10) as response:
        said = json.load(response)
    return said["state"] in {"ready", "stopped"} and [it["state"] for it in said.get("workers", [])] == ["ready"] * 2


def test_a_shape_changes_the_number_of_users_and_cuts_nobody_off(
    fake_service: Callable, noise_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "records"
    place = ["--dataset", str(noise_folder), "--record-to", str(folder), "--warmup", "0", "--duration", "9"]
    with fake_service(service_ms=20) as service:
        done = run_locust("--host", service.url, *place, "--user-stages", "1,4,1", files=(LOCUSTFILE, SHAPE))
    assert done.returncode == 0, done.stderr
    require_whole_books(folder, "closed_loop")
    (step,) = read_json(folder / TALLY_FILE, LoadTally).steps
    records = read_journal(folder / REQUESTS_FILE, RequestRecord).records
    first_second = [record for record in records if record.sent_ns < step.began_ns + NS_PER_S]
    assert most_under_way(first_second) == 1
    assert most_under_way(records) == 4
    assert "Shape test updating to 1 users" in done.stderr.partition("updating to 4 users")[2]
    assert {record.failure for record in records} == {None}


@pytest.mark.parametrize("stages", ["", "2,0", "2,many", "-1"])
def test_stages_that_are_no_numbers_of_users_are_refused(stages: str, noise_folder: Path) -> None:
    options = ["--host", NOWHERE, "--dataset", str(noise_folder), f"--user-stages={stages}"]
    done = run_locust(*options, files=(LOCUSTFILE, SHAPE))
    assert done.returncode == 1
    assert "are numbers of users" in done.stderr
    assert "Traceback" not in done.stderr


def most_under_way(records: Sequence[RequestRecord]) -> int:
    """The largest number of requests that were sent and not yet answered."""
    changes = sorted([(record.sent_ns, 1) for record in records] + [(record.finished_ns, -1) for record in records])
    return max(accumulate(change for _, change in changes))


def wait_for(condition: Callable[[], bool], log: Path | None = None) -> None:
    """Return when ``condition`` holds; fail when it does not for minutes."""
    for _ in range(10 * PATIENCE_S):
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
