"""How a worker stops: it says so at once, finishes what it has begun, and only then ends.

uvicorn alone stops listening first and says nothing: a probe or a new client hangs until the
supervisor is gone too. Here the worker goes on listening while it drains, and answers 503.
Where it does not end, because a model never returns, the supervisor kills it (`WORKER_LIMIT_S`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from types import FrameType

DRAIN_LIMIT_S = 10.0  # as long as a request may wait in the line
WORKER_LIMIT_S = 15.0  # with uvicorn's own 3 s between
_POLL_S = 0.02


def drain_on_sigterm(refuse_new: Callable[[], None], busy: Callable[[], bool]) -> None:
    """In the worker's event loop: on SIGTERM ``refuse_new``, wait while ``busy``, then do what SIGTERM did before."""
    loop = asyncio.get_running_loop()
    end = signal.getsignal(signal.SIGTERM)

    def begin(signum: int, frame: FrameType | None) -> None:
        refuse_new()
        loop.call_soon_threadsafe(drain)

    def drain(give_up_s: float | None = None) -> None:
        give_up_s = give_up_s or time.monotonic() + DRAIN_LIMIT_S
        if busy() and time.monotonic() < give_up_s:
            loop.call_later(_POLL_S, drain, give_up_s)
        elif callable(end):
            end(signal.SIGTERM, None)  # uvicorn's: close what is idle, end the loop

    signal.signal(signal.SIGTERM, begin)
