"""Files that a reader never sees half written, and their digests."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from contract.errors import DataCorrupt, NoRoom

T = TypeVar("T")


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``: temporary file, fsync, rename, fsync of the folder.

    A reader sees the old file or the new one, never a part. ``OSError`` (a full disk,
    say) leaves the old file as it was and no temporary file behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp's 0600 would hide the file from a service's own user
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a write that fails does not say where
        raise
    _sync_folder(path.parent)


def require_room(folder: Path, room_bytes: int = 0) -> None:
    """Make ``folder`` and raise unless it takes files and has ``room_bytes`` left: before hours of work, not after.

    Raises `NoRoom` for too little room, `OSError` where nothing can be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        error.filename = str(folder)  # and not the temporary file in it
        raise
    if (free_bytes := shutil.disk_usage(folder).free) < room_bytes:
        raise NoRoom(
            f"{folder} has {free_bytes / 1e6:,.0f} MB left and {room_bytes / 1e6:,.0f} MB are needed. "
            "Next: free some space there, or name another folder with the command's options"
        )


def write_json(path: Path, value: object) -> None:
    """Write ``value`` (dataclasses, tuples, dicts, numbers) as indented JSON, atomically."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_json(path: Path, type_: type[T]) -> T:
    """The JSON file ``path`` as a ``type_``; `DataCorrupt` names the field that does not fit."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataCorrupt(f"{path}: not a {type_.__name__}: {error}. Next: delete it and make it again") from error


def sync_file(path: Path) -> None:
    """Return once the content of ``path`` is on the disk, however it was written."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: object) -> str:
    """Hexadecimal SHA-256 of ``value`` as canonical JSON (sorted keys)."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
