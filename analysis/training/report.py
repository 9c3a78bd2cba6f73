"""The report of a training campaign: how good, how sure, how fast, and what it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.differences import SIGNIFICANCE
from analysis.html import Chart, Report, Section, drawn_chart, environment_section, render
from analysis.telling import Asked, Told
from analysis.training import wording
from analysis.training.curves import TITLES, Quantity, curve
from analysis.training.gallery import gallery
from analysis.training.page import training_page
from analysis.training.summary import Comparison, NetworkFigures, TrainingSummary, summarise_training
from analysis.training.tables import common_errors_rows, comparison_rows, training_as_json, training_tables
from analysis.wording import FEW_PROMISE, listed, whole

QUANTITIES: tuple[Quantity, ...] = ("mean_loss", "validation_accuracy")
SYNTHETIC = "Synthetic images. Speed is measured, accuracy is not: images of these runs were rendered."


def tell_training(folder: Path, asked: Asked) -> Told:
    """The campaign in ``folder``; pictures of mistakes come from the cache."""
    summary = summarise_training(folder)
    if asked.name is not None:
        summary = replace(summary, name=asked.name)
    return Told(
        report=training_report(summary, asked.cache),
        numbers=training_as_json(summary),
        tables=training_tables(summary),
        page=lambda _: training_page(summary),
    )


def render_training_report(summary: TrainingSummary, cache: Path | None) -> str:
    """The report's HTML; the same campaign and cache give the same text."""
    return render(training_report(summary, cache))


def training_report(summary: TrainingSummary, cache: Path | None) -> Report:
    """What a campaign has to say; without ``cache`` the mistakes have no pictures."""
    data = sorted({figures.run.data_description for figures in summary.runs})
    commands = tuple(sorted({figures.run.command for figures in summary.runs}))
    first = summary.runs[0].run
    return Report(
        kind="training",
        headline="The same network, trained in several frameworks: how good, how sure, how fast",
        about=(summary.name, first.created, f"{len(summary.runs)} runs", listed(data)),
        commands=commands,
        environment=first.environment,
        answer=(*map(_accuracy_sentence, summary.networks), *_comparison_sentence(summary.comparisons)),
        notices=() if summary.is_real else (SYNTHETIC,),
        sections=(
            _section("frameworks", "Frameworks, over seeds", summary),
            _section("paired", "Frameworks on the same images", summary, comparisons=comparison_rows(summary)),
            *_common_errors_section(summary),
            _section("speed", "Speed and memory", summary, few_promise=FEW_PROMISE),
            *_curve_sections(summary),
            _section("runs", "Every run", summary, reproducibility=wording.reproducibility(summary.runs)),
            _section("classes", "Classes", summary),
            _section("errors", "Error gallery", summary, galleries=[gallery(one, cache) for one in summary.networks]),
            environment_section({}, "", commands, first.environment),
        ),
    )


def _accuracy_sentence(network: NetworkFigures) -> str:
    said = [f"{wording.framework_name(one.framework)} {whole(one.accuracy, 'percent')}" for one in network.frameworks]
    return f"{network.model} at {network.resolution_px} px, test accuracy: {listed(said)}."


def _comparison_sentence(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """Whether any two networks of one seed can be told apart; nothing where there were no two to compare.

    Of networks, because that is what McNemar's test compares: two seeds of one framework differ, too.
    """
    if not comparisons:
        return ()
    apart = [
        f"{wording.framework_name(one.first)} and {wording.framework_name(one.second)} at {one.resolution_px} px, "
        f"seed {one.seed}"
        for one in comparisons
        if one.corrected_chance <= SIGNIFICANCE
    ]
    of_all = f"{len(apart)} of {len(comparisons)} pairs of networks"
    found = f"{of_all} ({listed(apart)})" if apart else "no pair of networks"
    return (
        f"On the same test images {found} can be told apart: McNemar's exact test with Holm's correction over "
        f"{len(comparisons)} pairs, at {SIGNIFICANCE:.0%}. A pair is one seed in two frameworks; another seed is "
        "another network, too.",
    )


def _section(
    name: str, title: str, summary: TrainingSummary, charts: Sequence[Chart] = (), **context: object
) -> Section:
    return Section(
        name=name,
        title=title,
        template=f"training/{name}.html",
        context={"summary": summary, "words": wording, **context},
        charts=tuple(charts),
    )


def _common_errors_section(summary: TrainingSummary) -> list[Section]:
    rows = common_errors_rows(summary)
    return [_section("common", "Errors in common", summary, rows=rows)] if rows else []


def _curve_sections(summary: TrainingSummary) -> list[Section]:
    drawn = curves(summary)
    return [_section("curves", "Course of training", summary, drawn)] if drawn else []


def curves(summary: TrainingSummary) -> list[Chart]:
    """Loss and validation accuracy of every network."""
    specs = [(network, quantity, curve(network, quantity)) for network in summary.networks for quantity in QUANTITIES]
    return [
        drawn_chart(
            f"{quantity}-{network.model}-{network.resolution_px}",
            f"{network.model} at {network.resolution_px} px: {TITLES[quantity]}",
            "The tables hold the final numbers.",
            spec,
        )
        for network, quantity, spec in specs
        if spec
    ]
