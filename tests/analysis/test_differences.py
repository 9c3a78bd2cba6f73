from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.differences import compared_with, differences_from
from analysis.load.runs import load_run
from analysis.load.sentences import difference_words
from analysis.load.summary import summarise
from analysis.statistics import (
    Absent,
    Estimate,
    _student_tail,
    holm,
    least_permutation_p,
    percentile,
    percentile_across_runs,
    permutation_p,
    student_p,
)

shares = st.floats(0, 1)


def answers_of(build, folder: Path, slower: dict[str, float], repetitions: int = 5):
    def edit(cell, records, outcome):
        factor = slower.get(cell.runtime, 1.0)
        # The builder's ONNX is faster than its PyTorch: here only the factor counts.
        same = build.cell(runtime="pytorch", repetition=cell.repetition)
        made = build.records(same, requests=len(records) - 30, slower=factor)
        return made, outcome

    folder = build.write(
        folder / "run", runtimes=("pytorch", *slower), repetitions=repetitions, requests=200, edit=edit
    )
    run = load_run(folder)
    answers: dict = {}
    for recorded in run.cells:
        key = (recorded.cell.runtime, recorded.cell.resolution_px, recorded.cell.scenario)
        answers.setdefault(key, []).append(recorded.requests.answers())
    return answers


def test_five_runs_each_tell_a_true_difference_and_no_false_one(build, tmp_path: Path) -> None:
    answers = answers_of(build, tmp_path, {"jax": 1.0, "onnx": 0.5, "tensorflow": 2.0})
    found = {key[0]: one.says for key, one in differences_from("pytorch", answers).items()}
    assert found == {"onnx": "faster", "tensorflow": "slower", "jax": "not shown"}


def test_one_run_says_nothing_about_a_difference(build, tmp_path: Path) -> None:
    (difference,) = differences_from("pytorch", answers_of(build, tmp_path, {"onnx": 0.2}, repetitions=1)).values()
    assert (difference.says, difference.p_value) == ("too few runs", None)
    assert difference_words(difference) == ""


@given(st.integers(1, 6), st.integers(1, 6))
def test_the_least_p_is_that_of_runs_which_are_all_apart(one: int, other: int) -> None:
    found = permutation_p(
        [1.0 + number / 100 for number in range(one)], [2.0 + number / 100 for number in range(other)]
    )
    assert least_permutation_p(one, other) == pytest.approx(found)


@pytest.mark.parametrize(("runs", "rivals", "can_tell"), [(5, 3, True), (4, 1, True), (4, 3, False), (3, 1, False)])
def test_runs_that_no_test_could_tell_from_chance_are_too_few(runs: int, rivals: int, can_tell: bool) -> None:
    base, slow = [1.0 + number / 100 for number in range(runs)], [2.0 + number / 100 for number in range(runs)]
    found = compared_with(base, [slow] * rivals)
    assert (found is not None) == can_tell
    assert not can_tell or {one.says for one in found} == {"slower"}


def test_neither_the_baseline_nor_the_null_service_is_compared(build, tmp_path: Path) -> None:
    answers = answers_of(build, tmp_path, {"null": 0.1, "onnx": 0.5})
    assert {key[0] for key in differences_from("pytorch", answers)} == {"onnx"}


def test_a_summary_holds_the_difference(build, tmp_path: Path) -> None:
    summary = summarise(load_run(build.write(tmp_path / "run", repetitions=5, requests=200)))
    says = {contender.runtime: contender.difference for contender in summary.contenders}
    assert says["pytorch"] is None
    assert says["onnx"] is not None
    assert says["onnx"].says == "faster"


def test_five_against_five_apart_is_two_of_252() -> None:
    assert permutation_p([1, 2, 3, 4, 5], [11, 12, 13, 14, 15]) == pytest.approx(2 / 252)
    assert permutation_p([11, 12, 13, 14, 15], [1, 2, 3, 4, 5]) == pytest.approx(2 / 252)


def test_equal_runs_are_no_evidence() -> None:
    assert permutation_p([3.0] * 5, [3.0] * 5) == 1.0


def test_a_true_null_is_rejected_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(3)
    drawn = [rng.lognormal(size=10) for _ in range(400)]
    rejected = sum(permutation_p(list(runs[:5]), list(runs[5:])) <= 0.05 for runs in drawn)
    assert rejected <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5


def test_student_is_right_about_a_published_table() -> None:
    # Two-sided 5 % points of t for 1, 2, 4, 8, 9 and 30 degrees of freedom.
    for freedom, point in ((1, 12.7062), (2, 4.30265), (4, 2.77645), (8, 2.306), (9, 2.26216), (30, 2.04227)):
        assert _student_tail(point, freedom) == pytest.approx(0.05, abs=1e-5)


def test_student_rejects_a_true_null_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(3)
    rejected = sum(student_p(*rng.lognormal(sigma=0.02, size=(2, 5))) <= 0.05 for _ in range(1_000))
    assert rejected <= 1_000 * 0.05 + 3 * (1_000 * 0.05 * 0.95) ** 0.5


def test_student_can_say_more_than_relabelling_and_nothing_of_equal_runs() -> None:
    one, other = [1.0, 1.01, 0.99, 1.02, 0.98], [1.5, 1.51, 1.49, 1.52, 1.48]
    assert student_p(one, other) < permutation_p(one, other) / 100
    assert student_p([2.0] * 5, [2.0] * 5) == 1.0
    assert student_p([2.0] * 5, [3.0] * 5) == 0.0


def test_holm_gives_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(shares, min_size=1, max_size=20))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before and after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    assert [adjusted[place] for place in order] == sorted(adjusted)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 6), st.integers(0, 2**16))
def test_a_percentile_across_runs_is_that_of_all_requests(runs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [rng.integers(1, 10_000, size=700) for _ in range(runs)]
    across = percentile_across_runs(values, 0.99, rng)
    alone = percentile(np.concatenate(values), 0.99)
    assert isinstance(across, Estimate)
    assert isinstance(alone, Estimate)
    assert across.value == alone.value
    assert across.low <= across.value <= across.high


def test_runs_that_differ_widen_the_interval_of_their_percentile() -> None:
    rng = np.random.default_rng(1)
    alike = [rng.normal(100, 1, size=1_000) for _ in range(5)]
    unlike = [run + 10 * number for number, run in enumerate(alike)]
    narrow, wide = (percentile_across_runs(runs, 0.9, np.random.default_rng(0)) for runs in (alike, unlike))
    assert isinstance(narrow, Estimate)
    assert isinstance(wide, Estimate)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_too_few_requests_in_all_runs_name_no_percentile() -> None:
    assert isinstance(percentile_across_runs([np.arange(100)] * 5, 0.99, np.random.default_rng(0)), Absent)


def test_a_test_by_drawn_relabellings_never_says_zero() -> None:
    apart = np.arange(1.0, 13.0)
    p_value = permutation_p(apart, 100 * apart)  # 2,704,156 relabellings, of which two part them as far
    assert 1 / 20_001 <= p_value < 0.001
