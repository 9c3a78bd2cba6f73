"""A process that is asked and answers: started under a guard, pinned before it imports anything, gone with the block.

Commands and replies are lines of JSON on a Unix socket, whose name the process is given as its
last argument. A process that is not asked is blocked in a read, and uses no processor time of its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRWPair
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar, cast

import msgspec

from contract.children import Failure, error_of
from contract.errors import HemaBenchError, ProcessFailed
from loadtest.service.processes import guarded_process, last_lines
from serving.runtimes import pinned_environment

# Artifacts are loaded before a worker says that it is there, and some forms are compiled then, for minutes. One that
# died is noticed at once.
START_S = 900.0
REPLY_S = 900.0  # the first call of a large batch that compiles on a busy core takes minutes
_GRACE_S = 1.0  # a worker has nothing to finish

C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Link(Generic[R]):
    """One living process."""

    name: str
    pid: int
    replies: type[R]
    stream: BufferedRWPair
    log: Path

    def ask(self, command: object) -> R:
        """The reply to ``command``; raises what the process raised, and `ProcessFailed` where it died."""
        try:
            self.stream.write(msgspec.json.encode(command) + b"\n")
            self.stream.flush()
            line = self.stream.readline()
        except OSError as error:
            raise ProcessFailed(self._failure(f"no reply to {command}: {error}")) from error
        if not line:
            raise ProcessFailed(self._failure(f"died at {command}"))
        try:
            failure = msgspec.json.decode(line, type=Failure)
        except msgspec.ValidationError:
            return msgspec.json.decode(line, type=self.replies)
        raise error_of(failure)

    def _failure(self, what: str) -> str:
        return (
            f"{self.name}: {what}. The last lines of {self.log}:\n{last_lines(self.log)}\nNext: run the command again"
        )


@contextmanager
def linked_process(
    name: str,
    command: Sequence[str],
    replies: type[R],
    *,
    threads: int | None,
    cores: Sequence[int],
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Link[R]]:
    """``python -m command... SOCKET``, pinned to ``cores`` and ``threads``, until the block is left.

    Affinity and the variables that thread pools are sized by are there before the interpreter
    starts; ``environment`` is added to them. None for ``threads`` leaves the pools to the framework.
    """
    pinned = {} if threads is None else pinned_environment(threads)
    variables = {**os.environ, **pinned, **(environment or {})}
    with tempfile.TemporaryDirectory(prefix="hemabench-") as folder:
        address = str(Path(folder, "socket"))
        line = [sys.executable, "-m", *command, address]
        with (
            socket.create_server(cast("tuple[str, int]", address), family=socket.AF_UNIX) as server,
            guarded_process(line, log=log, cores=cores, grace_s=_GRACE_S, environment=variables) as guard,
            _accepted(server, guard, name, log) as (connection, pid),
            connection.makefile("rwb") as stream,
        ):
            yield Link(name, pid, replies, stream, log)


def answer_commands(address: str, commands: type[C], answer: Callable[[C], object]) -> None:
    """In the process: answer every command until the other side closes; a `HemaBenchError` is raised there."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(commands).decode
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        with connection.makefile("rwb") as stream:
            stream.write(b"%d\n" % os.getpid())
            stream.flush()
            for line in stream:
                try:
                    reply = answer(decode(line))
                except HemaBenchError as error:
                    reply = Failure(type(error).__name__, str(error))
                stream.write(encode(reply) + b"\n")
                stream.flush()


@contextmanager
def _accepted(
    server: socket.socket, guard: subprocess.Popen[bytes], name: str, log: Path
) -> Iterator[tuple[socket.socket, int]]:
    """The connection of a process that has started, and its number."""
    until_s = monotonic() + START_S
    server.settimeout(0.2)
    while True:
        try:
            connection, _ = server.accept()
            break
        except TimeoutError:
            if guard.poll() is not None or monotonic() > until_s:
                raise ProcessFailed(
                    f"{name} did not start. The last lines of {log}:\n{last_lines(log)}\nNext: run the command again"
                ) from None
    with connection:
        connection.settimeout(REPLY_S)
        yield connection, int(_first_line(connection))


def _first_line(connection: socket.socket) -> bytes:
    """Byte by byte: what follows belongs to the stream that is opened later."""
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := connection.recv(1)):
            raise ProcessFailed("a process hung up before it said its number. Next: run the command again")
        line += byte
    return line
