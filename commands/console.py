"""What commands print, and how they end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from contract.progress import Progress

PIPED_COLUMNS = 160
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130  # exit codes: docs/commands.md
NOTHING_WRITTEN = "nothing is written by this. Next: repeat the command"
NO_RESULT_YET = "a measurement that is not over is no result. Next: repeat the command"


def show(renderable: object) -> None:
    """Print a rich renderable, or text, to standard output."""
    from rich.console import Console

    console = Console()
    # What is piped into a file or a log has no width of its own, and a table cut to 80 columns says nothing.
    (console if console.is_terminal else Console(width=PIPED_COLUMNS)).print(renderable)


def show_json(value: object) -> None:
    """Print anything that msgspec encodes."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def tell(text: str) -> None:
    """Print a line beside the result, to standard error."""
    typer.echo(text, err=True)


def warn(text: str) -> None:
    """Print a line that must not be overlooked."""
    typer.secho(text, fg="yellow", bold=True, err=True)


def fail(message: str, code: int) -> NoReturn:
    """Say why, and exit with ``code``."""
    typer.secho(f"error: {message}", fg="red", err=True)
    sys.exit(code)


@contextmanager
def progress_bar(if_stopped: str = NO_RESULT_YET) -> Iterator[Progress]:
    """Progress on standard error, with the time left.

    Ctrl-C ends the command with exit code 130, after what the work itself says of it, or else ``if_stopped``: what was
    kept, and how to go on.
    """
    from rich.console import Console

    from analysis.terminal import progress_on

    try:
        with progress_on(Console(stderr=True)) as progress:
            yield progress
    except KeyboardInterrupt as stopped:
        tell(f"\nstopped: {str(stopped) or if_stopped}")
        raise typer.Exit(INTERRUPTED) from None


def typed_command() -> str:
    """What a person would type to repeat this."""
    return shlex.join(["hemabench", *sys.argv[1:]])
