from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from analysis.evidence.capsule import pack, unpacked
from contract.errors import RecordsCorrupt, RunInvalid
from contract.records.seal import broken_seal, seal_folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "20260131T120000Z-quick"
    (folder / "cells").mkdir(parents=True)
    (folder / "run.json").write_bytes(b"{}")
    (folder / "cells/requests.journal").write_bytes(bytes(range(256)) * 400)
    seal_folder(folder)
    return folder


def test_what_is_unpacked_is_what_was_packed(run: Path, tmp_path: Path) -> None:
    with unpacked(pack(run, tmp_path / "run.zip")) as folder:
        assert folder.name == run.name
        assert broken_seal(folder) == ()
        assert (folder / "cells/requests.journal").read_bytes() == (run / "cells/requests.journal").read_bytes()
    assert not folder.exists()


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    assert pack(run, tmp_path / "a.zip").read_bytes() == pack(run, tmp_path / "b.zip").read_bytes()


def test_a_run_that_was_changed_is_not_packed(run: Path, tmp_path: Path) -> None:
    (run / "run.json").write_bytes(b"[]")
    with pytest.raises(RunInvalid, match=r"changed after its run had ended: run\.json"):
        pack(run, tmp_path / "run.zip")
    assert not (tmp_path / "run.zip").exists()


@pytest.mark.parametrize("damage", ["cut", "byte", "text"])
def test_a_damaged_capsule_is_refused(run: Path, tmp_path: Path, damage: str) -> None:
    capsule = pack(run, tmp_path / "run.zip")
    content = bytearray(capsule.read_bytes())
    content[len(content) // 3] ^= 0x40
    capsule.write_bytes({"cut": capsule.read_bytes()[:-40], "byte": bytes(content), "text": b"not a zip"}[damage])
    with pytest.raises(RecordsCorrupt, match="no whole capsule"), unpacked(capsule):
        pass


@pytest.mark.parametrize(
    "names", [["../outside"], ["/outside"], ["run/../../outside"], ["a/run.json", "b/run.json"], []]
)
def test_a_zip_of_something_else_is_refused_and_writes_nothing_outside(names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    with pytest.raises(RecordsCorrupt, match="is no capsule"), unpacked(path):
        pass
    assert not list(tmp_path.parent.glob("outside*"))
