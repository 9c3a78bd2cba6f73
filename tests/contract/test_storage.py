from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import DataCorrupt, NoRoom
from contract.storage import read_json, require_room, sha256_of_file, sha256_of_json, write_atomically, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    size_px: int
    parts: dict[str, float]
    tags: tuple[str, ...] = ()


def test_a_file_is_written_whole_into_folders_that_need_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_written_file_can_be_read_by_other_users(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


# The limit on file sizes stands in for a full disk: the kernel takes a part and refuses the rest.
FULL_DISK = """
import resource, sys
from pathlib import Path
from contract.storage import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), bytes(5000))
except OSError as error:
    print(error.errno, error.filename)
"""


@pytest.mark.acceptance("D6")
def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    child = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["27", str(path)]  # EFBIG: the disk did refuse, and it is said where
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


things = st.builds(
    Thing,
    name=st.text(),
    size_px=st.integers(-(2**63), 2**63),
    parts=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    tags=st.lists(st.text()).map(tuple),
)


@given(thing=things)
def test_json_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, thing: Thing) -> None:
    path = tmp_path_factory.mktemp("json") / "thing.json"
    write_json(path, thing)
    assert read_json(path, Thing) == thing


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"name": "a", "size_px": "big", "parts": {}}', "size_px"),
        (b'{"name": "a", "parts": {}}', "size_px"),
        (b'{"name": "a", "size_px": 1.5, "parts": {}}', "size_px"),
        (b'{"name": "a", "size_px": 1, "parts": {"x": null}}', "parts"),
        (b"{", "truncated"),
        (b"", "truncated"),
        (b"\x00\x01", "malformed"),
        (b'{"name": "\xff"}', "utf-8"),
        (b"[]", "object"),
    ],
)
def test_json_that_does_not_fit_is_refused_naming_file_and_field(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "thing.json"
    path.write_bytes(content)
    with pytest.raises(DataCorrupt) as refused:
        read_json(path, Thing)
    assert str(path) in str(refused.value)
    assert named in str(refused.value)
    assert "Next: " in str(refused.value)


@given(content=st.binary(max_size=10_000))
def test_the_digest_is_the_files_sha256(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(content)
    assert sha256_of_file(path) == hashlib.sha256(content).hexdigest()


@given(value=st.dictionaries(st.text(), st.integers() | st.text(), max_size=8))
def test_the_digest_of_json_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert sha256_of_json(dict(reversed(value.items()))) == sha256_of_json(value)


def test_the_digest_of_json_follows_its_values() -> None:
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": 2})


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match=r"runs has .* MB left and 1,000,000,000,000 MB are needed. Next: free"):
        require_room(tmp_path / "runs", 10**18)


def test_a_folder_with_room_is_made_and_left_empty(tmp_path: Path) -> None:
    require_room(tmp_path / "new", 1)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_takes_no_files_is_named() -> None:
    with pytest.raises(OSError, match="/proc/self"):
        require_room(Path("/proc/self/nowhere"))
