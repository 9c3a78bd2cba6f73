from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.differences import MINIMUM_EFFECT
from analysis.load.answer import answer, parts_sentence, speed_sentence, trust_sentence
from analysis.load.runs import load_run
from analysis.load.summary import RunSummary, summarise


def summary_of(build, folder: Path, **options) -> RunSummary:
    return summarise(load_run(build.write(folder, **options)))


def test_the_fastest_is_named_with_ratio_interval_and_n(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, resolutions_px=(28, 64))
    sentence = speed_sentence(summary)
    assert "ONNX Runtime at 28 and 64 px" in sentence
    assert "times as fast as PyTorch at 28 px" in sentence
    assert "n = 900 requests" in sentence
    for lead in summary.leads:
        assert f"{lead.ratio.value:.2f} ({lead.ratio.low:.2f} to {lead.ratio.high:.2f})" in sentence


def test_the_null_service_is_not_counted_among_the_contenders(build, tmp_path: Path) -> None:
    def shorter(cell, records, outcome):
        records = records if cell.runtime == "null" else build.records(cell, requests=400)
        return records, build.outcome(cell, records)

    sentence = speed_sentence(summary_of(build, tmp_path, runtimes=("pytorch", "onnx", "null"), edit=shorter))
    assert "n = 400 requests per contender" in sentence


def test_contenders_within_the_noise_are_not_ranked(build, tmp_path: Path) -> None:
    sentence = speed_sentence(summary_of(build, tmp_path, runtimes=("twin_a", "twin_b")))
    assert "cannot be told apart at 28 px" in sentence
    assert "times as fast" not in sentence


def test_of_one_start_it_is_said_that_it_was_one(build, tmp_path: Path) -> None:
    one = speed_sentence(summary_of(build, tmp_path / "one"))
    assert "one start of each service, and another may rank them otherwise" in one
    five = speed_sentence(summary_of(build, tmp_path / "five", repetitions=5, requests=120))
    assert "5 starts of each service; n" in five
    assert "ONNX Runtime at 28 px" in five


AHEAD, BEHIND = (1.0, 1.1, 1.1, 1.2, 1.7), (1.5, 1.5, 2.0, 2.0, 2.6)


def test_three_rivals_that_the_corrected_test_cannot_tell_are_named_beside_the_fastest(build, tmp_path: Path) -> None:
    def edit(cell, records, outcome):
        factor = (AHEAD if cell.runtime == "twin_a" else BEHIND)[cell.repetition - 1]
        same = build.cell(runtime="pytorch", repetition=cell.repetition)
        return build.records(same, requests=len(records) - 30, slower=factor), outcome

    runtimes = ("twin_a", "twin_b", "twin_c", "twin_d")
    summary = summary_of(build, tmp_path, runtimes=runtimes, repetitions=5, requests=200, edit=edit)
    (lead,) = summary.leads
    assert lead.fastest == "twin_a"
    assert lead.ratio.low > MINIMUM_EFFECT  # the interval alone, uncorrected, would have named a winner
    assert set(lead.level_with) == {"twin_b", "twin_c", "twin_d"}
    assert "cannot be told apart" in speed_sentence(summary)


def test_different_winners_get_a_clause_each(build, tmp_path: Path) -> None:
    def slow_at_64(cell, records, outcome):
        if (cell.runtime, cell.resolution_px) == ("onnx", 64):
            records = build.records(cell, slower=20)
        return records, outcome

    sentence = speed_sentence(summary_of(build, tmp_path, resolutions_px=(28, 64), edit=slow_at_64))
    assert "ONNX Runtime at 28 px" in sentence
    assert "; PyTorch at 64 px" in sentence


def test_a_single_runtime_is_not_called_fast(build, tmp_path: Path) -> None:
    assert "the only one measured" in speed_sentence(summary_of(build, tmp_path, runtimes=("pytorch",)))


def test_a_run_without_a_valid_cell_claims_nothing(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path, edit=lambda cell, records, outcome: (records, None))
    speed, parts, trust = answer(summary)
    assert "nothing about speed" in speed
    assert "not known" in parts
    assert trust.startswith("0 of 2 cells are valid, 2 missing")


def test_a_run_without_cells_claims_nothing(build, tmp_path: Path) -> None:
    assert "nothing about speed" in speed_sentence(summary_of(build, tmp_path, runtimes=()))


def test_the_models_share_encloses_every_contenders_interval(build, tmp_path: Path) -> None:
    summary = summary_of(build, tmp_path)
    taxes = [contender.figures.serving_tax for contender in summary.contenders]
    low, high = 100 / max(tax.high for tax in taxes), 100 / min(tax.low for tax in taxes)
    assert f"{low:.0f} to {high:.0f} % of the round trip at 28 px" in parts_sentence(summary)
    assert "network and framework" in parts_sentence(summary)


def test_invalid_and_missing_cells_are_counted_apart(build, tmp_path: Path) -> None:
    def spoil(cell, records, outcome):
        if cell.runtime == "onnx":
            return records, None
        return records, build.outcome(cell, records, dropped=2 if cell.runtime == "jax" else 0)

    sentence = trust_sentence(summary_of(build, tmp_path, runtimes=("pytorch", "jax", "onnx"), edit=spoil))
    assert sentence.startswith("1 of 3 cells are valid, 1 invalid, 1 missing")


def test_accuracy_names_its_images_and_is_not_claimed_for_rendered_ones(build, tmp_path: Path) -> None:
    real = trust_sentence(summary_of(build, tmp_path / "real"))
    assert "PBC, BloodMNIST recipe, own 7:1:2 split" in real
    assert "right for 96.1 to 99.0 %" in real
    rendered = trust_sentence(summary_of(build, tmp_path / "rendered", data_is_real=False))
    assert "right for" not in rendered
    assert "accuracy is not" in rendered


def test_accuracy_is_not_told_of_weights_that_may_have_seen_the_images(build, tmp_path: Path) -> None:
    def served(trained_on):
        def edit(cell, records, outcome):
            return records, replace(outcome, service_facts={"name": cell.runtime, "trained_on": trained_on})

        return edit

    elsewhere = trust_sentence(summary_of(build, tmp_path / "a", edit=served("BloodMNIST, official split")))
    assert "right for" not in elsewhere
    assert "accuracy is not told: the weights were trained on BloodMNIST, official split, and may have" in elsewhere
    same = trust_sentence(summary_of(build, tmp_path / "b", edit=served("PBC, BloodMNIST recipe, own 7:1:2 split")))
    assert "right for 96.1 to 99.0 %" in same


@pytest.mark.parametrize("real", [True, False])
def test_agreement_is_claimed_only_for_images_that_were_compared(build, tmp_path: Path, real: bool) -> None:
    sentence = trust_sentence(summary_of(build, tmp_path / "with", data_is_real=real))
    assert "every one of 800 image answers" in sentence
    assert "a cell with another answer is invalid" in sentence
    folder = build.write(tmp_path / "without", data_is_real=real)
    for path in (folder / "offline").iterdir():
        path.unlink()
    assert "no answer was compared" in trust_sentence(summarise(load_run(folder)))
