"""Services that run side by side and are measured in turns: who waits is stopped by signal, lest it polls."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from loadtest.service.server import RunningService


def family_of(service: RunningService) -> list[psutil.Process]:
    """The service's processes; the guard above them is left alone."""
    family: list[psutil.Process] = psutil.Process(service.process.pid).children(recursive=True)
    return family


@contextmanager
def all_stopped(services: dict[str, RunningService]) -> Iterator[None]:
    """Every service waits until `running_alone` lets its family go on."""
    everyone = [process for service in services.values() for process in family_of(service)]
    _signal_all(everyone, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(everyone, signal.SIGCONT)


@contextmanager
def running_alone(family: list[psutil.Process]) -> Iterator[None]:
    """One service's turn."""
    _signal_all(family, signal.SIGCONT)
    try:
        yield
    finally:
        _signal_all(family, signal.SIGSTOP)


def _signal_all(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it ended by itself, which its window reports
            process.send_signal(number)


@contextmanager
def on_cores(cores: tuple[int, ...]) -> Iterator[None]:
    """This process keeps to ``cores``, where the system lets it choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
