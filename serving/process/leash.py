"""Becomes a command that ends when whoever started it is gone, however that ended.

    python -m serving.process.leash PARENT_PID COMMAND ...

A program of its own, because between a fork and the command nothing of Python should run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from serving.process.supervision import die_with_parent


def leashed(command: Sequence[str]) -> tuple[str, ...]:
    """``command`` on this process's leash."""
    return (sys.executable, "-m", "serving.process.leash", str(os.getpid()), *command)


def main(arguments: list[str]) -> int:
    """Become the command; returns only where the parent was gone before the kernel was asked to watch it."""
    parent, *command = arguments
    die_with_parent()
    if os.getppid() == int(parent):
        os.execv(command[0], command)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
