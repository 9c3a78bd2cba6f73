"""One instant on two clocks: the wall's, which processes and machines share, and this process's own.

``perf_counter_ns`` may begin anywhere, and on another machine it does; an instant that is
to be the same for all is told by the wall's clock, and turned into one's own at once.
"""

from __future__ import annotations

import time

_READINGS = 5


def on_own_clock(wall_ns: int) -> int:
    """What ``time.perf_counter_ns()`` is when ``time.time_ns()`` is ``wall_ns``.

    Of a few readings the quickest counts: whoever is put aside between the two clocks is wrong by as long.
    """
    _, offset_ns = min(_reading() for _ in range(_READINGS))
    return wall_ns + offset_ns


def _reading() -> tuple[int, int]:
    """How long it took, and how far the own clock is ahead of the wall's."""
    before_ns = time.perf_counter_ns()
    wall_ns = time.time_ns()
    after_ns = time.perf_counter_ns()
    return after_ns - before_ns, (before_ns + after_ns) // 2 - wall_ns
