from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.environment import describe_environment
from contract.errors import InvalidSettings
from contract.records.journal import JournalWriter, read_journal
from contract.records.load import (
    ArtifactFacts,
    Cell,
    CellOutcome,
    OfflinePredictions,
    RequestRecord,
    RunPlan,
    Scenario,
)
from contract.storage import read_json, write_json
from contract.timing import PARTS

INSTANTS = st.integers(0, 2**62)

records = st.builds(
    RequestRecord,
    request=st.integers(0, 2**40),
    phase=st.sampled_from(["warmup", "measured"]),
    image=st.integers(0, 20_000),
    expected=st.integers(0, 7),
    scheduled_ns=INSTANTS,
    sent_ns=INSTANTS,
    finished_ns=INSTANTS,
    status=st.integers(0, 599),
    answered=st.none() | st.integers(0, 7),
    failure=st.none() | st.text(),
    parts_ns=st.dictionaries(st.sampled_from(PARTS), st.integers(0, 10**12)),
)

cells = st.builds(
    Cell,
    runtime=st.sampled_from(["onnx", "jax"]),
    resolution_px=st.sampled_from([28, 64]),
    scenario=st.sampled_from(["closed_loop", "open_loop"]),
    repetition=st.integers(1, 12),
)


def scenario(**changes: Any) -> Scenario:
    settings: dict[str, Any] = {"kind": "closed_loop", "warmup_s": 1.0, "duration_s": 5.0, "seed": 3}
    return Scenario(**settings | changes)


CELL = Cell(runtime="onnx", resolution_px=28, scenario="closed_loop")


@given(record=records)
def test_a_record_survives_its_journal(tmp_path_factory: pytest.TempPathFactory, record: RequestRecord) -> None:
    path = tmp_path_factory.mktemp("records") / "j"
    with JournalWriter(path) as journal:
        journal.append(record)
    assert read_journal(path, RequestRecord).records == (record,)


@given(record=records)
def test_response_time_is_send_delay_plus_round_trip(record: RequestRecord) -> None:
    assert record.response_time_ns == record.send_delay_ns + record.round_trip_time_ns


@given(record=records)
def test_a_record_is_ok_exactly_without_a_failure(record: RequestRecord) -> None:
    assert record.ok == (record.failure is None)
    assert not replace(record, failure="timeout").ok


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup_s": -0.1},
        {"duration_s": 0.0},
        {"users": 0},
        {"arrival_rate_per_s": 10.0},
        {"kind": "open_loop"},
        {"kind": "open_loop", "arrival_rate_per_s": 0.0},
        {"kind": "open_loop", "arrival_rate_per_s": -1.0},
        {"kind": "open_loop", "arrival_rate_per_s": float("nan")},
        {"duration_s": float("nan")},
        {"warmup_s": float("inf")},
    ],
)
def test_a_scenario_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=list(changes)[-1].removesuffix("kind") or "open_loop"):
        scenario(**changes)


@pytest.mark.parametrize("changes", [{"warmup_s": 0.0}, {"users": 8}, {"kind": "open_loop", "arrival_rate_per_s": 0.5}])
def test_a_sound_scenario_is_accepted(changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        assert getattr(scenario(**changes), name) == value


@given(first=cells, second=cells)
def test_two_cells_share_a_name_only_when_they_are_the_same(first: Cell, second: Cell) -> None:
    assert (first.name == second.name) == (first == second)


def test_a_cells_name_is_what_its_folder_is_called() -> None:
    assert CELL.name == "onnx-28px-closed_loop-r1"


def outcome(**changes: Any) -> CellOutcome:
    facts: dict[str, Any] = {
        "cell": CELL,
        "scenario": scenario(),
        "started": 3,
        "ok": 2,
        "failed": 1,
        "aborted": 0,
        "dropped": 0,
        "answered_by_service": None,
        "start_up_s": 1.5,
        "generator_cpu_share": 0.2,
        "service_cores": (0,),
        "generator_cores": (1, 2),
        "load_average": 0.1,
        "service_facts": {"threads": "1"},
    }
    return CellOutcome(**facts | changes)


PLAN = RunPlan(
    run="r",
    created="2025-01-31T12:00:00Z",
    profile="quick",
    command="hemabench run",
    environment=describe_environment(),
    data_source="pbc",
    data_description="PBC",
    data_is_real=True,
    artifacts=(
        ArtifactFacts(
            runtime="onnx",
            resolution_px=28,
            model="hemanet",
            format="onnx",
            digest="d",
            weights_digest="w",
            parity_largest_difference=1.5e-6,
            parity_images=16,
        ),
    ),
    cells=(CELL,),
    seed=1,
)
PREDICTIONS = OfflinePredictions(
    runtime="onnx", resolution_px=28, artifact_digest="d", data_source="pbc", images=(4, 9), classes=(0, 7)
)


@pytest.mark.parametrize(
    "value",
    [outcome(), outcome(scenario=None, start_up_s=None, error="died"), PLAN, PREDICTIONS],
    ids=["outcome", "failed-outcome", "plan", "predictions"],
)
def test_everything_in_a_run_folder_survives_its_file(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json", type(value)) == value
