"""Processes that never outlive us, each on cores of its own, with a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Where `python -m` finds cli, serving and loadtest.
CODE = Path(__file__).resolve().parents[2]
_KILL_S = 5.0  # what the guard needs to kill a family, beyond the time of grace


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSplit:
    """Which cores the service has and which the load generator; empty where nothing is pinned."""

    service: tuple[int, ...]
    generator: tuple[int, ...]


NOT_PINNED = CoreSplit(service=(), generator=())


def split_cores(threads: int, available: Sequence[int] | None = None) -> CoreSplit:
    """The first ``threads`` cores for the service and the last one for the generator; of one core both.

    The service gets as many cores as it is told to use threads and no more, so that a
    runtime which spawns its own threads regardless gains nothing by it.
    """
    cores = tuple(sorted(available if available is not None else own_cores()))
    if len(cores) == 1:
        return CoreSplit(service=cores, generator=cores)
    return CoreSplit(service=cores[:-1][:threads], generator=cores[-1:])


def own_cores() -> tuple[int, ...]:
    """The cores that this process may use, ascending."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@contextmanager
def guarded_process(
    command: Sequence[str],
    *,
    log: Path,
    cores: Sequence[int] = (),
    grace_s: float = 10.0,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """``command``, running from the code's folder under a `loadtest.service.guard`, until the block is left.

    What it prints is appended to ``log``. It is in a session of its own, so that Ctrl-C
    reaches us alone and we decide what ends when.
    """
    guard = [sys.executable, "-m", "loadtest.service.guard", "--grace-s", str(grace_s)]
    guard += ["--cores", ",".join(map(str, cores))] if cores else []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*guard, "--", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=CODE,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process, grace_s)


def last_lines(log: Path, lines: int = 15) -> str:
    """The end of ``log``, for a message; says so where there is nothing."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(f"    {line}" for line in kept) or "    (it printed nothing)"


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    assert process.stdin is not None  # a pipe, by construction
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(grace_s + _KILL_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
