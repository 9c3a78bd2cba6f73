"""Waking a greenlet at an instant, to within tens of microseconds.

gevent's own sleep counts in whole milliseconds, rounded up, because epoll does. In an
open loop that would be half a millisecond of our own delay in every response time, as
much as a small model takes. A Linux timer file descriptor has no such grain.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Protocol

import gevent

from contract.timing import NS_PER_S

_CLOCK_MONOTONIC = 1  # what time.perf_counter_ns reads on Linux
_ABSOLUTE = 1


class Alarm(Protocol):
    """Wakes the calling greenlet."""

    def sleep_until(self, instant_ns: int) -> None:
        """Return when ``time.perf_counter_ns()`` is ``instant_ns`` or later; at once where it already is."""

    def close(self) -> None:
        """Give back what the system lent."""


def create_alarm() -> Alarm:
    """The most exact alarm that this system has."""
    return TimerAlarm() if hasattr(ctypes.CDLL(None), "timerfd_create") else SleepAlarm()


class SleepAlarm:
    """gevent's own sleep, for systems without timer file descriptors."""

    def sleep_until(self, instant_ns: int) -> None:
        """See `Alarm`."""
        while (left_ns := instant_ns - time.perf_counter_ns()) > 0:
            gevent.sleep(left_ns / NS_PER_S)

    def close(self) -> None:
        """See `Alarm`."""


class _Instant(ctypes.Structure):
    _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Instant), ("value", _Instant))


class TimerAlarm:
    """A Linux timer that the event loop watches like a socket."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._watcher = gevent.get_hub().loop.io(self._timer, 1)

    def sleep_until(self, instant_ns: int) -> None:
        """See `Alarm`."""
        while time.perf_counter_ns() < instant_ns:
            value = _Instant(*divmod(instant_ns, NS_PER_S))
            if self._libc.timerfd_settime(self._timer, _ABSOLUTE, ctypes.byref(_Setting(value=value)), None) < 0:
                raise OSError(ctypes.get_errno(), "timerfd_settime")
            gevent.get_hub().wait(self._watcher)

    def close(self) -> None:
        """See `Alarm`."""
        self._watcher.close()
        os.close(self._timer)
