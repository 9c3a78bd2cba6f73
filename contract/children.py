"""A step in a process of its own, because a process holds one framework: run it, hear its progress, get its result."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import msgspec

from contract import errors
from contract.errors import HemaBenchError, ProcessFailed, why_not
from contract.progress import Progress
from contract.storage import write_json

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
STOP_GRACE_S = 5
_LAST_CHARACTERS = 2_000


class Step(msgspec.Struct, frozen=True, tag_field="step", tag="progress"):
    """One line that a child writes to its parent."""

    what: str
    done: float
    total: float


class Failure(msgspec.Struct, frozen=True):
    """An error of the tree, on its way to the parent."""

    kind: str
    message: str


class Outcome(msgspec.Struct, frozen=True):
    """What a child leaves in its output file."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None


def run_child(module: str, arguments: Sequence[str], result: type[T], progress: Progress) -> T:
    """What ``python -m module arguments --output FILE`` found, as a ``result``.

    Raises the `HemaBenchError` that the child raised; `ProcessFailed` where it died without a word.
    """
    with tempfile.TemporaryDirectory(prefix="hemabench-") as folder:
        output, errors_of_child = Path(folder, "outcome.json"), Path(folder, "stderr.txt")
        command = [sys.executable, "-m", module, *arguments, "--output", str(output)]
        with errors_of_child.open("w") as stderr:
            status = _run(command, stderr.fileno(), progress)
        if not output.is_file():
            said = errors_of_child.read_text(errors="replace")[-_LAST_CHARACTERS:]
            raise ProcessFailed(f"{module} {' '.join(arguments)} ended with status {status} and no result:\n{said}")
        outcome = msgspec.json.decode(output.read_bytes(), type=Outcome)
    if outcome.failure is not None:
        raise error_of(outcome.failure)
    return msgspec.json.decode(outcome.result, type=result)


def answer_parent(output: Path, work: Callable[[], Any]) -> None:
    """In a child: write what ``work`` returns, or the `HemaBenchError` or `OSError` that it raises, to ``output``."""
    try:
        with interrupted_once():
            result = work()
    except HemaBenchError as error:
        write_json(output, Outcome(failure=Failure(type(error).__name__, str(error))))
    except OSError as error:
        write_json(output, Outcome(failure=Failure(HemaBenchError.__name__, why_not(error))))
    else:
        write_json(output, Outcome(result=msgspec.Raw(msgspec.json.encode(result))))


def tell_parent(what: str, done: float, total: float) -> None:
    """In a child: a `Progress` that the parent hears."""
    sys.stdout.buffer.write(msgspec.json.encode(Step(what, done, total)) + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def interrupted_once() -> Iterator[None]:
    """In a child: the first Ctrl-C ends the work, and no second one its clean-up.

    A terminal sends it to parent and child, and then the parent's own arrives.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_child(child: subprocess.Popen[Any]) -> None:
    """End it as Ctrl-C does, which lets it remove what it had half built, or at once where it does not listen."""
    try:
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_GRACE_S)
    finally:  # also where a second Ctrl-C cuts the wait short
        child.kill()


def _run(command: list[str], stderr: int, progress: Progress) -> int:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                _hear(line, progress)
        except BaseException:  # Ctrl-C, here or in whoever hears of the progress
            stop_child(child)
            raise
    return child.returncode


def _hear(line: bytes, progress: Progress) -> None:
    try:
        step = msgspec.json.decode(line, type=Step)
    except msgspec.MsgspecError:
        return  # a framework's own words
    progress(step.what, step.done, step.total)


def error_of(failure: Failure) -> HemaBenchError:
    """The error that a child raised, of its own kind."""
    kind = getattr(errors, failure.kind, HemaBenchError)
    error: HemaBenchError = kind(failure.message)
    return error
