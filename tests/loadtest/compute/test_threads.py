from __future__ import annotations

import json
import subprocess
import sys

import pytest

from loadtest.compute.threads import busy_threads, thread_times_ns, used_ns

# In a process of its own: under pytest, threads that earlier tests left behind are busy now and then.
ONE_BUSY_AND_ONE_IDLE_THREAD = """
import json, threading
from loadtest.compute.threads import busy_threads, thread_times_ns, used_ns

started, released = threading.Event(), threading.Event()
idle = threading.Thread(target=lambda: (started.set(), released.wait()))
idle.start()
started.wait()
before = thread_times_ns()
sum(number * number for number in range(3_000_000))
after = thread_times_ns()
released.set()
idle.join()
used = used_ns(before, after)
print(json.dumps({"threads": len(after), "used_ns": used, "busy": busy_threads(before, after, used)}))
"""


def test_a_process_with_one_busy_and_one_idle_thread_has_one_busy_thread():
    if not thread_times_ns():
        pytest.skip("this system does not say what threads use")
    child = subprocess.run(
        [sys.executable, "-c", ONE_BUSY_AND_ONE_IDLE_THREAD], capture_output=True, text=True, check=True
    )
    seen = json.loads(child.stdout)
    assert (seen["threads"], seen["busy"]) == (2, 1)
    assert seen["used_ns"] > 1_000_000


def test_a_thread_that_came_later_counts_from_zero():
    assert used_ns({1: 10}, {1: 15, 2: 20}) == 25
    assert busy_threads({1: 10}, {1: 15, 2: 20}, 1_000) == 1
