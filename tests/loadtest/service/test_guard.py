from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from loadtest.service.processes import CODE, guarded_process, last_lines

# Refuses to end when asked, and has a child in a session of its own, as BentoML's workers are.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
print("pids", os.getpid(), worker.pid, flush=True)
time.sleep(120)
"""
# Holds a guard like a campaign does, and tells whom it guards.
HOLDER = f"""
import sys, time
from pathlib import Path
from loadtest.service.processes import guarded_process
with guarded_process([sys.executable, "-c", {STUBBORN!r}], log=Path(sys.argv[1]), grace_s=0.2):
    time.sleep(120)
"""


def pids_in(log: Path) -> list[int]:
    """The processes that the stubborn one names in its log, once it has."""
    for _ in range(200):
        text = log.read_text() if log.exists() else ""
        if "\n" in text:
            return [int(word) for word in text.split()[1:]]
        time.sleep(0.05)
    raise AssertionError("the guarded process never began")


def wait_until_gone(pids: list[int]) -> list[int]:
    """Those of ``pids`` that are still there after a long while."""
    for _ in range(200):
        if not (left := [pid for pid in pids if psutil.pid_exists(pid)]):
            return left
        time.sleep(0.05)
    return left


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_process_that_will_not_end_is_killed_with_its_far_descendants(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with guarded_process(python(STUBBORN), log=log, grace_s=0.2):
        pids = pids_in(log)
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert wait_until_gone(pids) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(log)], cwd=CODE)
    pids = pids_in(log)
    holder.send_signal(number)
    holder.wait(10)
    assert wait_until_gone(pids) == []


def test_a_polite_process_may_finish_what_it_does(tmp_path: Path) -> None:
    polite = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('goodbye')))\n"
    log = tmp_path / "log"
    with guarded_process(
        python(polite + "print('ready', flush=True)\ntime.sleep(120)"), log=log, grace_s=10
    ) as process:
        while "ready" not in last_lines(log):
            time.sleep(0.05)
    assert "goodbye" in last_lines(log)
    assert process.returncode == 0


def test_the_status_of_the_process_is_passed_on(tmp_path: Path) -> None:
    for code, status in (("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)):
        with guarded_process(python(code), log=tmp_path / "log") as process:
            assert process.wait(20) == status


def test_a_process_finds_itself_on_its_cores(tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    log = tmp_path / "log"
    with guarded_process(python("import os; print(sorted(os.sched_getaffinity(0)))"), log=log, cores=[core]) as process:
        process.wait(20)
    assert last_lines(log).strip() == f"[{core}]"
