"""What the form of an image costs: estimates over rounds, a table for the terminal and a page for docs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from analysis.markdown import cores_words, machine_line, markdown_table
from analysis.side_by_side.tables import side_by_side_as_json, side_by_side_report
from analysis.statistics import Absent, Estimate, Figure, FloatColumn, across_runs, fewest_requests, ratio_over_rounds
from analysis.telling import Asked, Told
from analysis.word_tables import WordTable, terminal_table
from analysis.wording import FEW_PROMISE, runtime_name
from contract.blood_cells import NOTICE
from contract.records.payloads import JPEG, NUMBERS, PAYLOADS_FILE, PNG, TENSOR, PayloadComparison, PayloadWindow
from contract.storage import read_json
from contract.timing import NS_PER_MS

DRAWS = 2_000
FORM_NAMES = {PNG: "PNG", JPEG: "JPEG", TENSOR: "raw FP32 tensor", NUMBERS: "JSON numbers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadFigures:
    """One form at one resolution; each figure is the median over rounds. ``to_png`` is the ratio of the p50s."""

    form: str
    resolution_px: int
    wire_bytes: int
    requests: int
    decode_ms: Estimate
    p50_ms: Estimate
    p99_ms: Figure
    to_png: Figure


def summarise_payloads(comparison: PayloadComparison, rng: np.random.Generator) -> tuple[PayloadFigures, ...]:
    """Figures of every form at every resolution; ``rng`` resamples whole rounds."""
    cells = {(window.resolution_px, window.form) for window in comparison.windows}
    return tuple(_figures(comparison, *cell, rng) for cell in sorted(cells, key=_order))


def _order(cell: tuple[int, str]) -> tuple[int, int]:
    side, form = cell
    return side, list(FORM_NAMES).index(form)


def _windows(comparison: PayloadComparison, side: int, form: str) -> list[PayloadWindow]:
    found = (each for each in comparison.windows if (each.resolution_px, each.form) == (side, form))
    return sorted(found, key=lambda window: window.round)


def _figures(comparison: PayloadComparison, side: int, form: str, rng: np.random.Generator) -> PayloadFigures:
    windows, png = _windows(comparison, side, form), _windows(comparison, side, PNG)

    def over_rounds(measure: Callable[[PayloadWindow], float]) -> Estimate:
        return across_runs([measure(window) for window in windows], rng, DRAWS)

    requests, needed = sum(len(window.round_trips_ns) for window in windows), fewest_requests(0.99)
    ratio: Figure = Absent("PNG was not measured")
    if len(png) == len(windows):
        ratio = ratio_over_rounds(_medians_ms(windows), _medians_ms(png), rng, DRAWS)
    return PayloadFigures(
        form=form,
        resolution_px=side,
        wire_bytes=windows[0].wire_bytes,
        requests=requests,
        decode_ms=over_rounds(lambda window: float(np.median(window.decode_ns)) / NS_PER_MS),
        p50_ms=over_rounds(lambda window: float(np.median(window.round_trips_ns)) / NS_PER_MS),
        p99_ms=over_rounds(_p99_ms) if requests >= needed else Absent(f"{requests} of {needed} requests", requests),
        to_png=ratio,
    )


def _p99_ms(window: PayloadWindow) -> float:
    return float(np.percentile(window.round_trips_ns, 99)) / NS_PER_MS


def _medians_ms(windows: list[PayloadWindow]) -> FloatColumn:
    return np.array([float(np.median(window.round_trips_ns)) / NS_PER_MS for window in windows])


_HEADINGS = ("px", "form", "bytes on the wire", "decode ms", "response p50 ms", "p99 ms", "p50 ÷ PNG", "requests")


def _row(figures: PayloadFigures) -> list[str]:
    return [
        str(figures.resolution_px),
        FORM_NAMES[figures.form],
        f"{figures.wire_bytes:,}",
        *(_shown(figure, 3) for figure in (figures.decode_ms, figures.p50_ms, figures.p99_ms)),
        "1" if figures.form == PNG else _shown(figures.to_png, 2),
        f"{figures.requests:,}",
    ]


def _shown(figure: Figure, decimals: int) -> str:
    if isinstance(figure, Absent):
        return f"– ({figure.reason})"
    value, low, high = (f"{number:,.{decimals}f}" for number in (figure.value, figure.low, figure.high))
    return f"{value} ({low}–{high})"


def payloads_words(figures: tuple[PayloadFigures, ...]) -> WordTable:
    """A row per form and resolution."""
    return WordTable(
        title="The same image in four forms: medians over rounds with 95 % intervals",
        headings=_HEADINGS,
        labels=2,
        rows=tuple(tuple(_row(each)) for each in figures),
    )


def payloads_table(figures: tuple[PayloadFigures, ...]) -> Table:
    """For the terminal."""
    return terminal_table(payloads_words(figures))


def payloads_as_json(comparison: PayloadComparison, figures: tuple[PayloadFigures, ...]) -> str:
    """The figures, with how they were measured."""
    return side_by_side_as_json(comparison, figures=figures)


def payloads_page(comparison: PayloadComparison, figures: tuple[PayloadFigures, ...]) -> str:
    """The same as Markdown, with how it was measured."""
    environment = comparison.environment
    rounds = 1 + max(window.round for window in comparison.windows)
    return "\n".join(
        [
            "# What the form of an image costs",
            "",
            f"Made by `{comparison.command}` at {comparison.measured_at}. {NOTICE}",
            "",
            f"{runtime_name(comparison.runtime)}, one thread on {cores_words(comparison.service_cores)}; the client "
            f"on {cores_words(comparison.client_cores)}, one connection over raw sockets. PNG and JPEG go to "
            "`/v1/classify`, tensors to `/v2`, binary or as JSON. All come from one image per "
            f"resolution, encoded beforehand. {rounds} rounds in an order drawn anew each time; figures are their "
            f"medians, intervals come from resampling whole rounds. {FEW_PROMISE} Decoding is what the service itself "
            "says.",
            "",
            *markdown_table(_HEADINGS, [_row(each) for each in figures]),
            "",
            f"Machine: {machine_line(environment)}",
            "",
        ]
    )


def tell_payloads(folder: Path, _: Asked) -> Told:
    """The comparison in ``folder``."""
    comparison = read_json(folder / PAYLOADS_FILE, PayloadComparison)
    figures = summarise_payloads(comparison, np.random.default_rng(0))
    return Told(
        report=side_by_side_report(
            comparison,
            name=folder.resolve().name,
            kind="payloads",
            headline="The same image as PNG, JPEG, raw tensor and JSON numbers",
            answer=tuple(_answer(figures)),
            tables=[payloads_words(figures)],
        ),
        numbers=payloads_as_json(comparison, figures),
        tables=payloads_table(figures),
        page=lambda _: payloads_page(comparison, figures),
    )


def _answer(figures: tuple[PayloadFigures, ...]) -> Iterator[str]:
    """At the lowest and the highest resolution: what each other form takes beside PNG."""
    for side in dict.fromkeys((figures[0].resolution_px, figures[-1].resolution_px)):
        others = [each for each in figures if each.resolution_px == side and each.form != PNG]
        said = [f"{FORM_NAMES[each.form]} {_shown(each.to_png, 2)}" for each in others]
        if said:
            yield f"At {side} px, median response time as a multiple of PNG's: {', '.join(said)}."
