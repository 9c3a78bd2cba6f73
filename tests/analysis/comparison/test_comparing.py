"""Two runs with a known difference between them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.comparison.comparing import BETWEEN, WITHIN, compare_runs
from analysis.comparison.conditions import FIELDS
from analysis.comparison.tables import comparison_words
from analysis.statistics import Estimate, student_p
from contract.errors import InvalidSettings, RunInvalid

ROOT = Path(__file__).parents[3]
RUNTIMES = ("pytorch", "onnx", "jax")


@pytest.fixture
def run_of(build, tmp_path: Path) -> Callable[..., Path]:
    """A run whose runtimes are slower by the factors given; ``seed`` draws other times."""

    def run(name: str, slower: dict[str, float] | None = None, *, seed: int, repetitions: int = 5, **plan) -> Path:
        def edit(cell, records, outcome):
            # A start of the service has its own pace, two in a hundred more or less.
            pace = float(np.random.default_rng([seed, cell.repetition, *cell.runtime.encode()]).normal(1, 0.02))
            factor = pace * (slower or {}).get(cell.runtime, 1.0)
            scaled = [
                replace(
                    record,
                    finished_ns=record.scheduled_ns + int(factor * record.response_time_ns),
                    parts_ns={},
                )
                for record in build.records(cell, requests=120, seed=seed)
            ]
            return scaled, build.outcome(cell, scaled)

        return build.write(
            tmp_path / name, runtimes=RUNTIMES, repetitions=repetitions, requests=120, edit=edit, run=name, **plan
        )

    return run


@pytest.mark.acceptance("D8")
def test_true_differences_between_two_runs_are_found_and_no_false_one(run_of) -> None:
    compared = compare_runs(run_of("a", seed=4), run_of("b", {"onnx": 1.5, "jax": 0.7}, seed=5))
    found = {pair.key.runtime: pair for pair in compared.pairs}
    assert {runtime: pair.difference.says for runtime, pair in found.items()} == {
        "pytorch": "not shown",
        "onnx": "slower",
        "jax": "faster",
    }
    assert all(pair.interval_from == BETWEEN and pair.repetitions == (5, 5) for pair in compared.pairs)
    ratio = found["onnx"].ratio
    assert isinstance(ratio, Estimate)
    assert ratio.low < 1.5 < ratio.high
    assert ratio.of == "runs"


def test_a_difference_that_is_real_and_small_is_called_none(run_of) -> None:
    a, b = run_of("a", seed=1), run_of("b", dict.fromkeys(RUNTIMES, 1.02), seed=1)
    assert {pair.difference.says for pair in compare_runs(a, b).pairs} <= {"below 3 %", "not shown"}


def test_a_run_does_not_differ_from_itself(run_of) -> None:
    a = run_of("a", seed=1)
    for pair in compare_runs(a, a).pairs:
        assert (pair.ratio.value, pair.difference.says, pair.difference.p_value) == (1.0, "not shown", 1.0)


def test_one_repetition_is_compared_within_itself_and_names_no_difference(run_of) -> None:
    a, b = run_of("a", seed=1, repetitions=1), run_of("b", {"onnx": 2.0}, seed=2)
    compared = compare_runs(a, b)
    assert {pair.interval_from for pair in compared.pairs} == {WITHIN}
    assert {pair.difference.says for pair in compared.pairs} == {"too few runs"}
    ratio = next(pair.ratio for pair in compared.pairs if pair.key.runtime == "onnx")
    assert isinstance(ratio, Estimate)
    assert ratio.low < ratio.value < ratio.high
    assert "names no difference" in comparison_words(compared)


def test_two_repetitions_are_too_few_to_tell(run_of) -> None:
    a, b = run_of("a", seed=1, repetitions=2), run_of("b", {"onnx": 2.0}, seed=2, repetitions=2)
    assert {pair.difference.says for pair in compare_runs(a, b).pairs} == {"too few runs"}


def test_holm_corrects_over_all_pairs(run_of) -> None:
    a, b = run_of("a", seed=1), run_of("b", dict.fromkeys(RUNTIMES, 1.5), seed=2)
    p_values = [pair.difference.p_value for pair in compare_runs(a, b).pairs]
    assert None not in p_values
    alone = [
        student_p(*([float(np.median(r)) for r in side.times_ns[pair.key]] for side in sides_of(b, a)))
        for pair in compare_runs(a, b).pairs
    ]
    assert min(p_values) == pytest.approx(3 * min(alone))


def sides_of(*folders: Path):
    from analysis.comparison.sides import load_side

    return [load_side(folder) for folder in folders]


def test_an_invalid_cell_is_not_compared_and_is_named(run_of, build) -> None:
    a, b = run_of("a", seed=1, repetitions=1), run_of("b", seed=2, repetitions=1)
    (b / "cells/jax-28px-closed_loop-r1/cell.json").unlink()
    compared = compare_runs(a, b)
    assert {pair.key.runtime for pair in compared.pairs} == {"pytorch", "onnx"}
    assert compared.alone == ("jax 28 px closed_loop: valid in A alone",)


def test_runs_without_a_cell_in_common_are_refused(build, tmp_path: Path) -> None:
    a = build.write(tmp_path / "a", runtimes=("onnx",), requests=60)
    b = build.write(tmp_path / "b", runtimes=("jax",), requests=60)
    with pytest.raises(RunInvalid, match="no valid cell in common"):
        compare_runs(a, b)


CHANGES = {
    "cpu_model": {"cpu_model": "Other CPU"},
    "cores": {"cores": 64},
    "memory": {"memory_bytes": 16 * 2**30},
    "accelerator": {"accelerator": "NVIDIA H200"},
    "governor": {"governor": "powersave"},
    "libraries": {"libraries": {"torch": "2.14.0", "numpy": "2.4.6"}},
}


@pytest.fixture
def changed(build, tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Two runs that differ in one field."""

    def runs(field: str) -> tuple[Path, Path]:
        plan = {"environment": build.environment(**CHANGES[field])} if field in CHANGES else {}
        if field == "data":
            plan = {"data_description": "BloodMNIST v2"}
        if field == "artifacts":
            plan = {"artifacts": (build.artifact("onnx", 28, digest="c" * 64),)}
        a = build.write(tmp_path / "a", runtimes=("onnx",), requests=60)
        b = build.write(tmp_path / "b", runtimes=("onnx",), requests=60, **plan)
        if field == "artifacts":
            for path in b.glob("offline/*.json"):
                path.write_text(path.read_text().replace("a" * 64, "c" * 64))
        return a, b

    return runs


@pytest.mark.acceptance("D8")
@pytest.mark.parametrize("field", FIELDS)
def test_runs_that_differ_in_a_field_are_refused_and_the_field_is_named(changed, field: str) -> None:
    a, b = changed(field)
    with pytest.raises(InvalidSettings, match=f"they differ in {field} .*--despite {field}"):
        compare_runs(a, b)
    with pytest.raises(InvalidSettings, match=field):
        compare_runs(a, b, [other for other in FIELDS if other != field])
    compared = compare_runs(a, b, [field])
    assert [one.field for one in compared.despite] == [field]
    assert compared.pairs


def test_an_allowance_for_a_field_that_does_not_exist_is_refused(changed) -> None:
    with pytest.raises(InvalidSettings, match="no field is called 'cpu'; choose of: cpu_model"):
        compare_runs(*changed("cores"), ["cpu"])


def test_memory_that_the_kernel_kept_for_itself_is_no_difference(build, tmp_path: Path) -> None:
    a = build.write(tmp_path / "a", requests=60)
    b = build.write(tmp_path / "b", requests=60, environment=build.environment(memory_bytes=8 * 2**30 - 2**20))
    assert compare_runs(a, b).despite == ()


@pytest.mark.acceptance("D8")
def test_the_command_refuses_with_exit_code_2_and_prints_what_it_was_told_to_allow(changed) -> None:
    folders = changed("governor")

    def compare(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli", "compare", *map(str, folders), *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    refused = compare()
    assert refused.returncode == 2
    assert "governor (performance in A, powersave in B)" in refused.stderr
    allowed = compare("--despite", "governor")
    assert allowed.returncode == 0, allowed.stderr
    assert "compared despite another governor (performance in A, powersave in B)" in allowed.stdout
    as_json = json.loads(compare("--despite", "governor", "--json").stdout)
    assert as_json["despite"] == [{"field": "governor", "a": "performance", "b": "powersave"}]
    assert set(as_json["pairs"][0]["ratio"]) == {"value", "low", "high", "n", "of"}
