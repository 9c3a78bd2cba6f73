from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import RecordsCorrupt, RunInvalid
from contract.records.seal import SEAL_FILE, add_to_seal, broken_seal, open_seal, read_seal, seal_folder


def run_in(folder: Path) -> Path:
    for name, content in {
        "run.json": b"{}",
        "cells/a/cell.json": b"[1]",
        "cells/a/requests.journal": b"x" * 999,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    seal_folder(folder)
    return folder


def test_what_was_not_touched_is_whole(tmp_path: Path) -> None:
    assert broken_seal(run_in(tmp_path)) == ()
    assert set(read_seal(tmp_path)) == {"run.json", "cells/a/cell.json", "cells/a/requests.journal"}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_everybodys_own_tool_reads_the_seal(tmp_path: Path) -> None:
    checked = subprocess.run(["sha256sum", "-c", SEAL_FILE], cwd=run_in(tmp_path), capture_output=True, check=False)
    assert checked.returncode == 0


@pytest.mark.acceptance("D7")
@given(data=st.data())
def test_one_changed_byte_anywhere_is_named(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = run_in(tmp_path_factory.mktemp("run"))
    name = data.draw(st.sampled_from(sorted(read_seal(folder))))
    content = bytearray((folder / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(bytes(content))
    assert [fault.split(":")[0] for fault in broken_seal(folder)] == [name]


@pytest.mark.acceptance("D7")
def test_a_file_that_is_gone_or_new_is_named(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    (folder / "run.json").unlink()
    (folder / "cells/b").mkdir()
    (folder / "cells/b/cell.json").write_bytes(b"[2]")
    missing, added = broken_seal(folder)
    assert missing.startswith("run.json: it was sealed and is missing")
    assert added.startswith("cells/b/cell.json: it is not in the seal")


def test_a_report_made_again_does_not_hide_a_changed_record(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    (folder / "cells/a/cell.json").write_bytes(b"[9]")
    (folder / "report.html").write_bytes(b"<p>better</p>")
    add_to_seal(folder, ["report.html"])
    assert [fault.split(":")[0] for fault in broken_seal(folder)] == ["cells/a/cell.json"]


def test_a_run_that_has_not_ended_gets_no_seal_from_its_report(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(b"")
    add_to_seal(tmp_path, ["report.html"])
    with pytest.raises(RunInvalid, match=r"has not ended, or none\. Next: resume"):
        read_seal(tmp_path)


def test_where_there_is_nothing_no_run_is_spoken_of(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match="there is no run at"):
        read_seal(tmp_path / "nowhere")


def test_a_run_that_goes_on_loses_its_seal_if_it_is_whole(tmp_path: Path) -> None:
    (run_in(tmp_path) / "cells/a/cell.json").unlink()  # to have the cell repeated
    open_seal(tmp_path)
    assert not (tmp_path / SEAL_FILE).exists()
    open_seal(tmp_path)  # without a seal there is nothing to open


def test_a_run_that_was_changed_does_not_go_on(tmp_path: Path) -> None:
    (run_in(tmp_path) / "run.json").write_bytes(b"[]")
    with pytest.raises(RunInvalid, match=r"changed after its run had ended: run\.json"):
        open_seal(tmp_path)


@pytest.mark.parametrize(
    "line", ["", "abc  run.json", "g" * 64 + "  run.json", "a" * 64 + " run.json", "a" * 64 + "  "]
)
def test_a_line_that_is_no_digest_and_name_is_corrupt_and_numbered(tmp_path: Path, line: str) -> None:
    (tmp_path / SEAL_FILE).write_text(f"{'a' * 64}  run.json\n{line}\n")
    with pytest.raises(RecordsCorrupt, match=f"{SEAL_FILE}:2"):
        read_seal(tmp_path)
