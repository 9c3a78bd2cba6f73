"""Rankings with and without a mistake, from records on disk."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from analysis.html import render
from analysis.mistakes.chart import mistakes_chart, static_png
from analysis.mistakes.page import mistakes_page
from analysis.mistakes.recorded import load_mistakes
from analysis.mistakes.report import render_mistakes_report, tell_mistakes
from analysis.mistakes.summary import summarise_mistakes
from analysis.mistakes.tables import mistakes_as_json, mistakes_tables
from analysis.plots import static_svg
from analysis.telling import Asked
from contract.errors import RecordsCorrupt, RunInvalid
from contract.records.mistakes import BURSTS_FILE, CHART_FILE, PLAN_FILE, Answers

MS = 1_000_000


def summary_of(folder):
    return summarise_mistakes(load_mistakes(folder), np.random.default_rng(0))


def looped(build, tenths=50):
    return {("tensorflow", "looped"): [tenths * MS // 10] * 50}


def text_of(renderable) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_a_mistake_of_the_leader_hands_the_lead_to_the_next(record, build):
    folder = record(build["careful"](8, 4, 6) | looped(build), build["mistake"]())
    (effect,) = summary_of(folder).effects
    assert (effect.leaders_without, effect.leaders_with, effect.moved) == ({"tensorflow"}, {"jax"}, "moved")
    assert effect.factors["tensorflow"].value == pytest.approx(12.5)
    assert effect.factors["jax"].value == 1


def test_a_mistake_of_the_last_changes_no_winner(record, build):
    folder = record(build["careful"](8, 9, 6) | looped(build), build["mistake"]())
    assert summary_of(folder).effects[0].moved == "same"


def test_a_compilation_in_the_mean_is_paid_by_everybody(record, build):
    mistake = build["mistake"](ways={}, statistic="first_call_in_mean")
    (effect,) = summary_of(record(build["careful"](5, 5, 5), mistake, first_ns=100 * MS)).effects
    assert [factor.value for factor in effect.factors.values()] == [pytest.approx((100 + 99 * 0.5) / 100 / 0.5)] * 3


def test_a_closed_loop_reports_less_than_its_users_wait(record, build):
    mistake = build["mistake"](ways={}, statistic="closed_p99", reference_statistic="open_p99")
    (effect,) = summary_of(record(build["careful"](5, 5, 5), mistake)).effects
    assert all(factor.high < 0.9 for factor in effect.factors.values())


def test_a_mean_reports_less_than_the_p99(record, build):
    times = {key: [MS] * 680 + [9 * MS] * 20 for key in build["careful"](5, 5, 5)}
    mistake = build["mistake"](ways={}, statistic="mean", reference_statistic="p99")
    (effect,) = summary_of(record(times, mistake)).effects
    assert all(factor.value < 0.2 for factor in effect.factors.values())


def test_answers_are_counted_against_the_true_classes_and_against_each_other(record, build):
    answers = [
        Answers(framework="tensorflow", way="careful", classes=(1, 2, 3, 4), expected=(1, 2, 3, 3)),
        Answers(framework="tensorflow", way="looped", classes=(1, 1, 1, 1), expected=(1, 2, 3, 3)),
    ]
    folder = record(build["careful"](5, 5, 5) | looped(build), build["mistake"](answers=True), answers=answers)
    (change,) = summary_of(folder).effects[0].answers
    found = (change.right_without.value, change.right_with.value, change.changed.value, change.difference)
    assert found == (0.75, 0.25, 0.75, 0.25)


def test_what_was_not_measured_has_a_reason_and_no_ranking(record, build):
    folder = record(build["careful"](5, 6, 7), build["mistake"](not_measured="no GPU here"))
    summary = summary_of(folder)
    assert summary.effects[0].moved is None
    assert mistakes_chart(summary) is None
    assert "no GPU here" in mistakes_page(summary)


def test_too_few_calls_for_a_p99_leave_the_ranking_out(record, build):
    mistake = build["mistake"](ways={}, statistic="mean", reference_statistic="p99")
    summary = summary_of(record(build["careful"](5, 6, 7, calls=100), mistake))
    assert summary.effects[0].moved is None
    assert "100 of the 662" in text_of(mistakes_tables(summary))


def test_the_same_records_give_the_same_report(record, build):
    folder = record(build["careful"](8, 4, 6) | looped(build), build["mistake"]())
    first, again = tell_mistakes(folder, Asked()), tell_mistakes(folder, Asked())
    assert render(first.report) == render(again.report)
    assert first.files[CHART_FILE].startswith(b"\x89PNG")


def test_every_figure_is_on_the_page_and_in_the_report(record, build):
    folder = record(build["careful"](8, 4, 6) | looped(build), build["mistake"]())
    summary = summary_of(folder)
    page, html = mistakes_page(summary), render_mistakes_report(summary)
    for text in (page, html, text_of(mistakes_tables(summary))):
        assert "× 12.5 (12.5–12.5)" in text
        assert "TensorFlow → JAX" in text
    assert "https://example.com/1" in page
    assert "<script" not in html


def test_json_holds_the_figures_as_numbers(record, build):
    folder = record(build["careful"](8, 4, 6) | looped(build), build["mistake"]())
    (effect,) = json.loads(mistakes_as_json(summary_of(folder)))["effects"]
    assert effect["factors"]["tensorflow"]["value"] == pytest.approx(12.5)


def test_the_chart_names_the_winner_in_writing(record, build):
    folder = record(build["careful"](8, 4, 6) | looped(build), build["mistake"]())
    spec = mistakes_chart(summary_of(folder))
    assert "TensorFlow → JAX" in static_svg(spec)
    assert len(static_png(spec)) > 5_000


def test_a_run_that_was_stopped_says_so(record, build):
    folder = record(build["careful"](8, 4, 6), build["mistake"]())
    assert any("stopped" in warning for warning in summary_of(folder).warnings)


def test_a_busy_machine_and_synthetic_images_are_said(record, build):
    folder = record(build["careful"](8, 4, 6), processes=2, load_average=3.0, data_is_real=False)
    said = " ".join(summary_of(folder).warnings)
    assert all(word in said for word in ("busy", "Synthetic", "2 processes"))


def test_a_torn_last_line_is_left_out_and_damage_before_it_is_refused(record, build):
    folder = record(build["careful"](8, 4, 6), build["mistake"](ways={}, statistic="mean"))
    path = folder / BURSTS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert load_mistakes(folder).torn
    path.write_bytes(whole.replace(b"jax", b"jux", 1))
    with pytest.raises(RecordsCorrupt):
        load_mistakes(folder)


def test_a_folder_without_a_plan_or_of_another_version_is_refused(record, build, tmp_path):
    with pytest.raises(RunInvalid, match="Next: hemabench mistakes"):
        load_mistakes(tmp_path / "nowhere")
    folder = record(build["careful"](8, 4, 6))
    plan = folder / PLAN_FILE
    plan.write_text(plan.read_text().replace('"mistakes_version": 1', '"mistakes_version": 99'))
    with pytest.raises(RunInvalid, match="version 99"):
        load_mistakes(folder)
