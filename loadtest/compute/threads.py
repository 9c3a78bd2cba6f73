"""Which threads of a process have used the processor: what a runtime does, beside what it was told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

BUSY_SHARE = 0.01


def thread_times_ns(process: int | None = None) -> dict[int, int]:
    """Processor time of every thread of ``process`` (this one) so far; empty where the system does not say."""
    times: dict[int, int] = {}
    for path in Path(f"/proc/{process or os.getpid()}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            times[int(path.parent.name)] = int(path.read_text().split()[0])
    return times


def busy_threads(before: Mapping[int, int], after: Mapping[int, int], wall_ns: int) -> int:
    """How many threads used more than a hundredth of ``wall_ns`` between two `thread_times_ns`."""
    return sum(time_ns - before.get(thread, 0) > BUSY_SHARE * wall_ns for thread, time_ns in after.items())


def used_ns(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """Processor time between two `thread_times_ns`, all threads together."""
    return sum(time_ns - before.get(thread, 0) for thread, time_ns in after.items())
