from __future__ import annotations

import threading

import pytest

from loadtest.compute.threads import busy_threads, thread_times_ns, used_ns


def test_this_process_has_used_its_threads():
    pytest.importorskip("psutil")
    before = thread_times_ns()
    if not before:
        pytest.skip("this system does not say what threads use")
    released = threading.Event()
    idle = threading.Thread(target=released.wait)
    idle.start()
    sum(number * number for number in range(300_000))
    after = thread_times_ns()
    released.set()
    idle.join()
    assert len(after) == len(before) + 1
    assert used_ns(before, after) > 1_000_000
    assert busy_threads(before, after, used_ns(before, after)) == 1


def test_a_thread_that_came_later_counts_from_zero():
    assert used_ns({1: 10}, {1: 15, 2: 20}) == 25
    assert busy_threads({1: 10}, {1: 15, 2: 20}, 1_000) == 1
