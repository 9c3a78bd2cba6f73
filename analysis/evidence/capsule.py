"""A capsule: a sealed run as one zip file, which another machine can verify."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, TemporaryFile

from contract.errors import RecordsCorrupt, RunInvalid
from contract.progress import Progress, counted, silent
from contract.records.seal import SEAL_FILE, broken_seal, read_seal
from contract.storage import write_atomically

# The earliest date that a zip can hold: the same run gives the same bytes whenever it is packed.
_DATE = (1980, 1, 1, 0, 0, 0)
# What an hour of load leaves is below 1 GB; a capsule that unpacks to more was not packed here.
MOST_BYTES = 16 * 2**30


def pack(folder: Path, into: Path, progress: Progress = silent) -> Path:
    """Write the sealed run in ``folder`` to ``into``; raises `RunInvalid` where its files are not those sealed."""
    if faults := broken_seal(folder):
        raise RunInvalid(f"{folder} was changed after its run had ended: {faults[0]}. Next: hemabench verify {folder}")
    name = folder.resolve().name
    with TemporaryFile() as scratch:
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as capsule:
            for file in counted(sorted([SEAL_FILE, *read_seal(folder)]), progress, "pack the files"):
                entry = zipfile.ZipInfo(f"{name}/{file}", _DATE)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                capsule.writestr(entry, (folder / file).read_bytes())
        scratch.seek(0)
        write_atomically(into, scratch.read())
    return into


@contextmanager
def unpacked(capsule: Path) -> Iterator[Path]:
    """The folder of the run in ``capsule``, for as long as the block lasts.

    Raises `RecordsCorrupt` where the file is damaged or is no capsule; nothing is written outside the folder.
    """
    with TemporaryDirectory(prefix="hemabench-") as scratch:
        try:
            with zipfile.ZipFile(capsule) as archive:
                root = _root_of(archive, capsule)
                for entry in archive.infolist():  # whose names and sizes have been judged, one by one
                    archive.extract(entry, scratch)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise RecordsCorrupt(f"{capsule} is no whole capsule: {error}. Next: copy it again") from error
        yield Path(scratch) / root


def _root_of(archive: zipfile.ZipFile, capsule: Path) -> str:
    """The one folder that everything in ``archive`` lies in."""
    entries = archive.infolist()
    paths = [PurePosixPath(entry.filename) for entry in entries]
    roots = {path.parts[0] for path in paths if path.parts}
    outside = any(path.is_absolute() or ".." in path.parts or "\\" in str(path) for path in paths)
    if outside or len(roots) != 1 or sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise RecordsCorrupt(f"{capsule} is no capsule: one run in one folder is expected. Next: hemabench capsule")
    return roots.pop()
