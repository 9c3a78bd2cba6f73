"""The device's own clock beside the host's, where a framework gives one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from contract.timing import NS_PER_MS


def event_times_ns(device: str, call: Callable[[], object], calls: int) -> tuple[int, ...]:
    """What ``calls`` calls take between two CUDA events; empty on the CPU and where PyTorch is not in the process.

    Calls of their own: recording events costs microseconds, which must not stand in the host's times.
    """
    torch = sys.modules.get("torch")
    if not device.startswith("cuda") or torch is None:
        return ()
    with torch.cuda.device(torch.device(device)):  # an event is recorded on the card that is current
        return tuple(_between_events_ns(torch, call) for _ in range(calls))


def _between_events_ns(torch: Any, call: Callable[[], object]) -> int:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    call()
    ended.record()
    ended.synchronize()
    elapsed_ms: float = began.elapsed_time(ended)
    return round(elapsed_ms * NS_PER_MS)
