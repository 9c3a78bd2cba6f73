"""Artifacts are built beside their place and moved there whole; what a killed process left is removed by the next."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def built_for(target: Path) -> Iterator[Path]:
    """An empty folder to build in, beside ``target``; what is not moved away is removed at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch, _held(Path(scratch)):
        built = Path(scratch) / target.name
        built.mkdir()
        yield built


def sweep(artifacts: Path) -> None:
    """Remove what processes that were killed had half built for any artifact below ``artifacts``."""
    for scratch in artifacts.glob("*/.*px.*"):
        with suppress(BlockingIOError), _held(scratch):
            shutil.rmtree(scratch, ignore_errors=True)


def replace_folder(built: Path, target: Path) -> None:
    """Put the finished folder ``built`` where ``target`` is or was."""
    if target.exists():
        shutil.rmtree(target)
    built.rename(target)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Held by one process, of which the system lets go when it dies; raises ``BlockingIOError`` for another."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
