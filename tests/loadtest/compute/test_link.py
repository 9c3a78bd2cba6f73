from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from contract.errors import InvalidSettings, ProcessFailed
from contract.records.compute import Shape
from loadtest.compute.link import linked_process
from loadtest.compute.worker import Command, Reply
from loadtest.service.processes import CODE, own_cores


def test_a_process_is_pinned_before_it_starts(worker):
    with worker() as link:
        assert link.ask(Command(kind="describe")).cores == own_cores()[:1]
        environment = psutil.Process(link.pid).environ()
    assert environment["OMP_NUM_THREADS"] == environment["NPROC"] == "1"


def test_an_error_of_the_process_is_raised_here_and_the_process_goes_on(worker):
    with worker() as link:
        with pytest.raises(InvalidSettings, match="time needs a shape"):
            link.ask(Command(kind="time"))
        assert link.ask(Command(kind="describe")).facts["device"] == "none"


def test_a_process_that_died_is_named_with_what_to_do(worker):
    with worker() as link:
        os.kill(link.pid, signal.SIGKILL)
        with pytest.raises(ProcessFailed, match=r"(?s)null: .*describe.*Next: "):
            link.ask(Command(kind="describe"))


def test_a_process_that_does_not_start_shows_its_last_words(tmp_path):
    log = tmp_path / "log"
    with (
        pytest.raises(ProcessFailed, match=r"No module named loadtest\.compute\.nothing"),
        linked_process("none", ["loadtest.compute.nothing"], Reply, threads=1, cores=(), log=log),
    ):
        pytest.fail("it started")


def test_a_process_that_is_not_asked_sleeps(worker):
    with worker() as link:
        link.ask(Command(kind="time", shape=Shape(resolution_px=28, batch=1), fewest=10, most=10))
        process = psutil.Process(link.pid)
        before = process.cpu_times()
        time.sleep(0.5)
        after = process.cpu_times()
    assert after.user + after.system - before.user - before.system <= 0.05  # a few ticks of the kernel's clock


def test_a_process_dies_with_whoever_started_it(tmp_path):
    script = f"""
import sys, time
from pathlib import Path
from contract.storage import write_json
from loadtest.compute.link import linked_process
from loadtest.compute.worker import Reply, WorkerSettings
settings = Path({str(tmp_path)!r}, "settings.json")
write_json(settings, WorkerSettings(runtime="null", threads=1, device="cpu", artifacts="", resolutions_px=(28,),
                                    input="float32"))
with linked_process("null", ["loadtest.compute.worker", str(settings)], Reply, threads=1, cores=(),
                    log=Path({str(tmp_path)!r}, "log")) as link:
    print(link.pid, flush=True)
    time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=CODE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until_s = time.monotonic() + 30
    while psutil.pid_exists(worker) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not psutil.pid_exists(worker)
    assert not Path(f"/proc/{worker}").exists()
