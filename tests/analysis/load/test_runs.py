from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.load.runs import NOT_RECORDED, load_run, pooled, requests_of
from contract.errors import RunInvalid
from contract.records.load import ABORTED
from contract.storage import write_json


def test_a_run_is_loaded_as_it_was_written(build, tmp_path: Path) -> None:
    run = load_run(build.write(tmp_path, runtimes=("pytorch", "onnx"), resolutions_px=(28, 64), requests=40))
    assert [recorded.cell for recorded in run.cells] == list(run.plan.cells)
    assert all(len(recorded.requests) == 70 and recorded.outcome and not recorded.torn for recorded in run.cells)
    assert set(run.offline) == {(runtime, side) for runtime in ("pytorch", "onnx") for side in (28, 64)}
    assert run.unlisted == run.damage == ()


def test_columns_hold_what_the_records_held(build) -> None:
    records = build.records(build.cell(scenario="open_loop"), requests=50)
    records[10] = build.failed(records[10])
    requests = requests_of(records)
    assert requests.response_time_ns.tolist() == [record.response_time_ns for record in records]
    assert requests.round_trip_time_ns.tolist() == [record.round_trip_time_ns for record in records]
    assert requests.send_delay_ns.tolist() == [record.send_delay_ns for record in records]
    assert requests.ok.tolist() == [record.ok for record in records]
    assert requests.answered[10] == NOT_RECORDED
    assert requests.parts_ns["infer"].tolist() == [record.parts_ns.get("infer", NOT_RECORDED) for record in records]
    assert requests.failures == {"HTTP 503": 1}


def test_figures_are_made_of_measured_answers_only(build) -> None:
    records = build.records(build.cell(), requests=50, warmup=5)
    records[20] = build.failed(records[20])
    answers = requests_of(records).answers()
    assert len(answers) == 49
    assert answers.measured.all()
    assert answers.ok.all()


def test_an_aborted_request_is_no_failure(build) -> None:
    records = build.records(build.cell(), requests=20)
    records[-1] = build.failed(records[-1], ABORTED, 0)
    requests = requests_of(records)
    assert requests.aborted.sum() == 1
    assert requests.failures == {}


def test_repetitions_are_pooled_in_order(build) -> None:
    first, second = (requests_of(build.records(build.cell(repetition=number), requests=20)) for number in (1, 2))
    together = pooled([first, second])
    assert len(together) == len(first) + len(second)
    assert together.image.tolist() == [*first.image.tolist(), *second.image.tolist()]
    assert together.parts_ns["read"].tolist() == [*first.parts_ns["read"], *second.parts_ns["read"]]


def test_a_folder_without_a_plan_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match=r"no run in .*Next: hemabench run"):
        load_run(tmp_path)


def test_an_unreadable_plan_is_no_run(build, tmp_path: Path) -> None:
    build.write(tmp_path, requests=20)
    (tmp_path / "run.json").write_bytes(b'{"run": 3}')
    with pytest.raises(RunInvalid, match=r"run\.json"):
        load_run(tmp_path)


def test_records_of_another_version_are_refused(build, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", build.plan([build.cell()], records_version=99))
    with pytest.raises(RunInvalid, match="version 99"):
        load_run(tmp_path)


def test_a_cell_that_was_never_begun_is_loaded_empty(build, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", build.plan([build.cell()]))
    (recorded,) = load_run(tmp_path).cells
    assert recorded.outcome is None
    assert len(recorded.requests) == 0
    assert recorded.damage == ()


def test_a_torn_journal_keeps_its_whole_records_and_says_so(build, tmp_path: Path) -> None:
    cell = build.cell()
    write_json(tmp_path / "run.json", build.plan([cell]))
    journal = build.write_cell(tmp_path, cell, build.records(cell, requests=20), None) / "requests.journal"
    journal.write_bytes(journal.read_bytes()[:-30])
    (recorded,) = load_run(tmp_path).cells
    assert recorded.torn
    assert len(recorded.requests) == 49


@pytest.mark.parametrize("file", ["requests.journal", "cell.json"])
@pytest.mark.acceptance("D7")
def test_damage_to_one_cell_does_not_hide_the_others(build, tmp_path: Path, file: str) -> None:
    build.write(tmp_path, requests=20)
    path = tmp_path / "cells" / "pytorch-28px-closed_loop-r1" / file
    path.write_bytes(b"rubbish\n" + path.read_bytes())
    damaged, whole = load_run(tmp_path).cells
    assert file in damaged.damage[0]
    assert whole.damage == ()
    assert len(whole.requests) == 50


def test_an_outcome_of_another_cell_is_damage(build, tmp_path: Path) -> None:
    def swap(cell, records, outcome):
        return records, replace(outcome, cell=build.cell(runtime="jax"))

    (recorded,) = load_run(build.write(tmp_path, runtimes=("pytorch",), requests=20, edit=swap)).cells
    assert recorded.outcome is None
    assert "is about jax-28px" in recorded.damage[0]


def test_folders_that_the_plan_does_not_know_are_named(build, tmp_path: Path) -> None:
    build.write(tmp_path, requests=20)
    (tmp_path / "cells" / "stray").mkdir()
    assert load_run(tmp_path).unlisted == ("stray",)


def test_unreadable_predictions_are_damage_of_the_run(build, tmp_path: Path) -> None:
    build.write(tmp_path, requests=20)
    (tmp_path / "offline" / "onnx-28px.json").write_bytes(b"{")
    write_json(tmp_path / "offline" / "pytorch-28px.json", build.predictions("pytorch", 28, classes=(1,)))
    run = load_run(tmp_path)
    assert run.offline == {}
    assert len(run.damage) == 2


def test_choosing_requests_keeps_all_columns_in_step(build) -> None:
    requests = requests_of(build.records(build.cell(), requests=30))
    odd = np.arange(len(requests)) % 2 == 1
    chosen = requests.only(odd)
    assert chosen.image.tolist() == requests.image[odd].tolist()
    assert chosen.parts_ns["infer"].tolist() == requests.parts_ns["infer"][odd].tolist()
