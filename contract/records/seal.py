"""The seal of a run: the SHA-256 of every file of its folder, written when the run ends.

It is what ``sha256sum`` writes, so that ``sha256sum -c SHA256SUMS`` checks it anywhere. It
finds what a disk or a hand changed; who can write a seal can write another, and whom that
worries keeps the digest of the seal itself elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.errors import RecordsCorrupt, RunInvalid
from contract.storage import sha256_of_file, write_atomically

SEAL_FILE = "SHA256SUMS"
_DIGEST_DIGITS = 64
_BETWEEN = "  "


def seal_folder(folder: Path) -> None:
    """Write down the digest of every file below ``folder``; from now on none may change."""
    _write(folder, {name: sha256_of_file(folder / name) for name in _files_of(folder)})


def add_to_seal(folder: Path, derived: Sequence[str], *, in_place_of: str | None = None) -> None:
    """Take files that were derived anew into the seal; a folder without a seal stays without one.

    The digests of all others stay as they were: making a report again must not hide that a
    record was changed. Files whose names begin with ``in_place_of`` leave the seal, if given.
    """
    if (folder / SEAL_FILE).is_file():
        others = {name: digest for name, digest in read_seal(folder).items() if not _below(name, in_place_of)}
        _write(folder, {**others, **{name: sha256_of_file(folder / name) for name in derived}})


def _below(name: str, beginning: str | None) -> bool:
    return beginning is not None and name.startswith(beginning)


def open_seal(folder: Path) -> None:
    """Remove the seal of a run that is to go on; a folder without one is left as it is.

    Raises `RunInvalid` where a file was changed since the run ended: a new seal would hide
    it. A file that was deleted asks for its cell to be repeated.
    """
    if not (folder / SEAL_FILE).is_file():
        return
    if changed := _changed(folder, read_seal(folder)):
        raise RunInvalid(
            f"{folder} was changed after its run had ended: {changed[0]}. Next: restore it from a copy, or delete it "
            "with its cell to have that repeated"
        )
    (folder / SEAL_FILE).unlink()


def broken_seal(folder: Path) -> tuple[str, ...]:
    """Every file that is not what the seal says, by name: changed, missing, or not in the seal; none if all are.

    Raises what `read_seal` raises.
    """
    sealed, found = read_seal(folder), set(_files_of(folder))
    return (
        *(f"{name}: its bytes are not those that were sealed" for name in _changed(folder, sealed)),
        *(f"{name}: it was sealed and is missing" for name in sealed if name not in found),
        *(f"{name}: it is not in the seal" for name in sorted(found - sealed.keys())),
    )


def read_seal(folder: Path) -> dict[str, str]:
    """SHA-256 by file name. Raises `RunInvalid` without a seal, `RecordsCorrupt` where a line is none of a seal."""
    path = folder / SEAL_FILE
    if not folder.is_dir():
        raise RunInvalid(f"there is no run at {folder}. Next: name a folder under results/")
    if not path.is_file():
        raise RunInvalid(
            f"{folder} has no seal ({SEAL_FILE}): it is a run that has not ended, or none. "
            "Next: resume it, or name another"
        )
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), start=1):
        digest, between, name = line.partition(_BETWEEN)
        if len(digest) != _DIGEST_DIGITS or set(digest) - set("0123456789abcdef") or not between or not name:
            raise RecordsCorrupt(f"{path}:{number}: no digest and name. Next: restore the file from a copy")
        found[name] = digest
    return found


def _changed(folder: Path, sealed: Mapping[str, str]) -> list[str]:
    there = [name for name in sealed if (folder / name).is_file()]
    return [name for name in there if sha256_of_file(folder / name) != sealed[name]]


def _files_of(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != SEAL_FILE)


def _write(folder: Path, digests: Mapping[str, str]) -> None:
    lines = (f"{digest}{_BETWEEN}{name}\n" for name, digest in sorted(digests.items()))
    write_atomically(folder / SEAL_FILE, "".join(lines).encode())
