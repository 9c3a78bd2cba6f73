"""The device's own clock beside the host's, where a framework gives one."""

from __future__ import annotations

import sys
from collections.abc import Callable

NS_PER_MS = 1_000_000


def event_times_ns(device: str, call: Callable[[], object], calls: int) -> tuple[int, ...]:
    """What ``calls`` calls take between two CUDA events; empty on the CPU and where PyTorch is not in the process.

    Calls of their own: recording events costs microseconds, which must not stand in the host's times.
    """
    torch = sys.modules.get("torch")
    if not device.startswith("cuda") or torch is None:
        return ()
    times: list[int] = []
    for _ in range(calls):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        call()
        ended.record()
        ended.synchronize()
        times.append(round(began.elapsed_time(ended) * NS_PER_MS))
    return tuple(times)
