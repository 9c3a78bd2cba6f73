from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import InvalidSettings
from contract.records.compute import COMPUTE_FILE, CallBlock, Shape, Sitting, is_compute_folder
from contract.records.journal import JournalWriter, read_journal

NS = st.integers(0, 2**62)
BLOCKS = st.builds(
    CallBlock,
    runtime=st.text(max_size=20),
    sitting=st.builds(Sitting, repetition=st.integers(1, 99), threads=st.integers(1, 256)),
    shape=st.builds(Shape, resolution_px=st.integers(1, 4096), batch=st.integers(1, 4096)),
    round=st.integers(1, 99),
    settling_ns=st.lists(NS, max_size=3).map(tuple),
    took_ns=st.lists(NS, max_size=20).map(tuple),
    wall_ns=NS,
    cpu_ns=NS,
    busy_threads=st.integers(0, 999),
    compilations=st.integers(0, 99),
    sleepers_cpu_ns=NS,
)


@given(blocks=st.lists(BLOCKS, max_size=4))
def test_blocks_come_back_as_they_were_written(tmp_path_factory, blocks):
    path = tmp_path_factory.mktemp("journal") / "blocks.journal"
    with JournalWriter(path) as journal:
        for block in blocks:
            journal.append(block)
    assert list(read_journal(path, CallBlock).records) == blocks


@pytest.mark.parametrize("wrong", [{"resolution_px": 0, "batch": 1}, {"resolution_px": 28, "batch": 0}])
def test_a_shape_without_images_is_refused(wrong):
    with pytest.raises(InvalidSettings, match="at least 1"):
        Shape(**wrong)


def test_sittings_have_names_that_differ():
    names = {Sitting(repetition=number, threads=threads).name for number in (1, 2) for threads in (1, 2)}
    assert names == {"r1-1thread", "r1-2threads", "r2-1thread", "r2-2threads"}


def test_a_compute_folder_is_known_by_its_plan(tmp_path):
    assert not is_compute_folder(tmp_path)
    (tmp_path / COMPUTE_FILE).touch()
    assert is_compute_folder(tmp_path)
