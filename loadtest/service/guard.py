"""Runs a command on given cores and takes it down, with all it started, when its own input ends.

    python -m loadtest.service.guard --cores 0 --grace-s 10 -- hemabench serve --port 3000

Whoever starts the guard holds the other end of its standard input. The system closes that
end however the holder dies, SIGKILL included, so nothing is ever left running. The
guard takes in orphans too: BentoML's workers are in sessions of their own and would
outlive their killed parent.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_KILL_ROUNDS = 50


def main(arguments: list[str]) -> int:
    """Run the command; its exit status, or 128 + the signal that ended it."""
    options = _parser().parse_args(arguments)
    _adopt_orphans()
    if options.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options.cores)  # before the command starts: libraries size their pools by it
    wake_ups = _wake_on_signals()
    child = subprocess.Popen(options.command, stdin=subprocess.DEVNULL)
    try:
        _wait(child, wake_ups)
    finally:
        _take_down(child, options.grace_s)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.service.guard")
    parser.add_argument("--cores", type=lambda text: tuple(map(int, text.split(","))), default=())
    parser.add_argument("--grace-s", type=float, default=10.0)
    parser.add_argument("command", nargs="+")
    return parser


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wake_on_signals() -> socket.socket:
    """Readable after SIGCHLD, SIGTERM or SIGINT, none of which ends the guard by itself."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(os.dup(writer.fileno()))
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def _wait(child: subprocess.Popen[bytes], wake_ups: socket.socket) -> None:
    """Return when the command has ended, or when it is to be ended."""
    while child.poll() is None:
        ready, _, _ = select.select([sys.stdin, wake_ups], [], [])
        if sys.stdin in ready:
            return
        if {signal.SIGTERM, signal.SIGINT} & set(wake_ups.recv(64)):
            return


def _take_down(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask the command to end, wait, and kill whatever of its family is left."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace_s)
    for _ in range(_KILL_ROUNDS):  # again, for what was forked meanwhile
        if not (family := _descendants()):
            return
        for process in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
        _reap()


def _descendants() -> list[int]:
    import psutil  # here: the guard starts faster without it, and needs it only now

    return [process.pid for process in psutil.Process().children(recursive=True)]


def _reap() -> None:
    """Let the dead go: a zombie still counts as a child."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
