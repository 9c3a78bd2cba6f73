from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import RecordsCorrupt
from contract.records.journal import JournalTail, JournalWriter, read_journal


@dataclass(frozen=True, slots=True)
class Note:
    number: int
    text: str | None


notes = st.lists(st.builds(Note, st.integers(-(2**60), 2**60), st.none() | st.text()), max_size=12)


def write(path: Path, records: list[Note]) -> bytes:
    with JournalWriter(path) as journal:
        for record in records:
            journal.append(record)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cell" / "notes.journal"


@given(records=notes)
def test_records_come_back_in_the_order_written(tmp_path_factory: pytest.TempPathFactory, records: list[Note]) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    write(path, records)
    journal = read_journal(path, Note)
    assert journal.records == tuple(records)
    assert not journal.torn


@given(records=notes, data=st.data())
@pytest.mark.acceptance("D3")
def test_a_file_cut_anywhere_loses_the_torn_record_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, records: list[Note], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    content = write(path, records)
    kept = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:kept])
    journal = read_journal(path, Note)
    whole = content[:kept].count(b"\n")
    assert journal.records == tuple(records[:whole])
    assert journal.torn == (kept > 0 and content[kept - 1 : kept] != b"\n")


@given(records=notes.filter(bool), data=st.data())
@pytest.mark.acceptance("D7")
def test_one_changed_byte_is_never_read_as_data(
    tmp_path_factory: pytest.TempPathFactory, records: list[Note], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    content = bytearray(write(path, records))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        journal = read_journal(path, Note)
    except RecordsCorrupt:
        return
    # Nothing was damaged but the end of the last line, so that it looks torn.
    assert journal.torn
    assert journal.records == tuple(records[:-1])


@pytest.mark.acceptance("D2")
def test_an_earlier_journal_is_not_written_over(path: Path) -> None:
    content = write(path, [Note(1, "first")])
    with pytest.raises(FileExistsError):
        JournalWriter(path)
    assert path.read_bytes() == content


@pytest.mark.acceptance("D2")
def test_a_record_is_in_the_file_as_soon_as_it_is_appended(path: Path) -> None:
    journal = JournalWriter(path)
    try:
        for number in range(3):
            journal.append(Note(number, None))
            assert len(read_journal(path, Note).records) == number + 1
    finally:
        journal.close()


@pytest.mark.parametrize(
    "line", [b'{"number": "one", "text": null}', b"[]", b"not json", b'{"number": 1, "text": "\xff"}']
)
def test_a_whole_line_of_something_else_is_corrupt_and_named(path: Path, line: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(b"%08x %b\n" % (zlib.crc32(line), line))
    with pytest.raises(RecordsCorrupt, match=":1: not a Note"):
        read_journal(path, Note)


KILLED = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from contract.records.journal import JournalWriter
journal = JournalWriter(Path(sys.argv[1]))
for number in itertools.count():
    journal.append({"number": number, "text": "x" * (number % 300)})
    if number == 500:
        print("ready", flush=True)
"""


@pytest.mark.acceptance("D3")
def test_killing_the_writer_loses_at_most_the_record_being_written(path: Path) -> None:
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path), root], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    journal = read_journal(path, Note)
    assert len(journal.records) > 500
    assert [record.number for record in journal.records] == list(range(len(journal.records)))


# The limit on file sizes stands in for a disk that is full and later has room again.
FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from contract.records.journal import JournalWriter
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
with JournalWriter(Path(sys.argv[1])) as journal:
    journal.append({"number": 0, "text": None})
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    for _ in range(2):
        try:
            journal.append({"number": 1, "text": "x" * 300})
        except OSError as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    journal.append({"number": 2, "text": None})
"""


@pytest.mark.acceptance("D6")
def test_a_full_disk_refuses_a_record_and_harms_no_other(path: Path) -> None:
    root = str(Path(__file__).parents[2])
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), root], capture_output=True, text=True, check=True
    )
    assert child.stdout.count("disk took") == 2
    journal = read_journal(path, Note)
    assert [record.number for record in journal.records] == [0, 2]
    assert not journal.torn


def test_a_tail_gives_each_record_once_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "notes.journal"
    tail = JournalTail(path, Note)
    assert tail.new() == []
    with JournalWriter(path) as journal:
        journal.append(Note(1, "a"))
        journal.append(Note(2, None))
        assert tail.new() == [Note(1, "a"), Note(2, None)]
        assert tail.new() == []
        journal.append(Note(3, "c\n"))
        assert tail.new() == [Note(3, "c\n")]


def test_a_tail_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.journal"
    content = write(path, [Note(1, "a"), Note(2, "b")])
    path.write_bytes(content[:-5])
    tail = JournalTail(path, Note)
    assert tail.new() == [Note(1, "a")]
    path.write_bytes(content)
    assert tail.new() == [Note(2, "b")]
