"""The tables of a compute run as words, once for the terminal, the page and the report."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.compute.card import OnCard
from analysis.compute.limit import Reached, Roof
from analysis.compute.summary import ComputeCell, ComputeStart, ComputeSummary, CrossingRow, ScalingRow
from analysis.statistics import Estimate, Figure
from analysis.word_tables import WordTable
from analysis.wording import FEW_PROMISE, NONE, interval_of, runtime_name, sample_of, value_of
from contract.records.compute import MachineLimits

MEBIBYTE = 2**20
PLACE = ("px", "batch", "runtime")


def all_tables(summary: ComputeSummary) -> list[WordTable]:
    """Everything that a run has to say in numbers, without those tables that would be empty."""
    tables = [table(summary, threads) for threads in summary.threads for table in (times_table, card_table, use_table)]
    tables += [limits_table(summary), starts_table(summary), scaling_table(summary), crossings_table(summary)]
    return [table for table in tables if table.rows]


def times_table(summary: ComputeSummary, threads: int) -> WordTable:
    """One row per cell with ``threads``: what a call takes."""
    return WordTable(
        title=f"One call of predict, {_threads(threads)}",
        note="Host array in, host logits out, in ms, with 95 % intervals. Percentiles are of all calls; all "
        f"intervals are over processes, which are resampled whole. {FEW_PROMISE}",
        headings=(*PLACE, "calls", "p50", "p90", "p99", f"÷ {runtime_name(summary.baseline)}", "first call", "verdict"),
        labels=len(PLACE),
        rows=tuple(_times_row(summary, cell) for cell in summary.of_threads(threads)),
    )


def card_table(summary: ComputeSummary, threads: int) -> WordTable:
    """One row per valid cell on a card: its clock beside the host's, the copies apart, the energy."""
    return WordTable(
        title=f"One call on the card, {_threads(threads)}",
        note="In ms, medians. Host: from host array to host logits. Card: between two events around such a call. "
        "Copies: of the same input and logits, nothing computed. Energy: by the card's own counter, idle included.",
        headings=(*PLACE, "host", "card", "copy to the card", "copy to the host", "J per 1,000 images"),
        labels=len(PLACE),
        rows=tuple(_card_row(cell, cell.card) for cell in summary.of_threads(threads) if cell.valid and cell.card),
    )


def use_table(summary: ComputeSummary, threads: int) -> WordTable:
    """One row per valid cell with ``threads``: what it makes of the machine."""
    return WordTable(
        title=f"What a call makes of the machine, {_threads(threads)}",
        note="Over processes. Busy: threads that used more than a hundredth of the time. GFLOP/s counts a direct "
        "convolution in the median call; peak and roof are those of the precision that the runtime computes in.",
        headings=(*PLACE, "images/s", "CPU ms per image", "busy", "GFLOP/s", "of peak", "of roof"),
        labels=len(PLACE),
        rows=tuple(_use_row(cell) for cell in summary.of_threads(threads) if cell.valid),
    )


def findings(summary: ComputeSummary) -> list[str]:
    """Why cells are invalid, what is missing, and what to know of the others; one line per text, with its cells."""
    found: dict[str, list[str]] = {}
    for cell in summary.cells:
        name = f"{cell.runtime} {cell.shape.resolution_px} px × {cell.shape.batch}, threads: {cell.threads}"
        for text in (*(f"INVALID: {reason}" for reason in cell.reasons), *cell.warnings):
            found.setdefault(text, []).append(name)
    lines = [f"missing: sitting {sitting.name}. Next: hemabench compute --resume" for sitting in summary.run.missing]
    if past := [cell for cell in summary.cells if _is_past_the_peak(cell)]:
        lines.append(
            f"{len(past)} cells go past the peak: it was measured while the machine did something else, or a runtime "
            "convolves by an algorithm with fewer operations. Next: run it again on a quiet machine"
        )
    return lines + [f"{text} — {'; '.join(cells)}" for text, cells in found.items()]


def _is_past_the_peak(cell: ComputeCell) -> bool:
    of_peak = cell.reached.of_peak if cell.reached is not None else None
    return isinstance(of_peak, Estimate) and of_peak.low > 1


def starts_table(summary: ComputeSummary) -> WordTable:
    """What it takes before the first call."""
    sides = sorted({side for start in summary.starts for side in start.load_ns})
    return WordTable(
        title="Before the first call",
        note="In ms, medians over processes: the runtime with its framework imported, then an artifact loaded at each "
        "resolution. Memory is the peak of the process over all shapes.",
        headings=("runtime", "threads", "import", *(f"load {side} px" for side in sides), "peak memory, MiB"),
        labels=1,
        rows=tuple(_start_row(start, sides) for start in summary.starts),
    )


def limits_table(summary: ComputeSummary) -> WordTable:
    """The machine's limits, as measured before the runs."""
    rows: list[tuple[str, ...]] = []
    roofs = {(roof.threads, roof.precision): roof for roof in summary.roofs}
    for limit in summary.run.limits:
        rows += [_peak_row(limit, roof) for (threads, _), roof in roofs.items() if threads == limit.threads]
        rows += [(str(limit.threads), f"{name} product", NONE, reason) for name, reason in limit.missing.items()]
        bandwidth = limit.triad.traffic_bytes / min(limit.triad.passes_ns)
        rows.append((str(limit.threads), "triad through memory", f"{bandwidth:,.1f} GB/s", limit.triad.library))
    return WordTable(
        title="What the machine can do",
        note="The fastest of repeated square products and of a = b + s · c over arrays that no cache holds.",
        headings=("threads", "what", "limit", "by"),
        labels=4,
        rows=tuple(rows),
    )


def scaling_table(summary: ComputeSummary) -> WordTable:
    """Overhead and slope of every runtime, by batch."""
    return WordTable(
        title="Time against pixels: overhead + slope × pixels",
        note="Per call, relative errors weighing alike; processes resampled. Exponent: the power of the pixels that "
        "the times follow. Off by: the line's largest relative error at a measured resolution.",
        headings=("threads", "batch", "runtime", "overhead, ms", "slope, ns per pixel", "exponent", "off by"),
        labels=3,
        rows=tuple(_scaling_row(row) for row in summary.scalings),
    )


def crossings_table(summary: ComputeSummary) -> WordTable:
    """Where the faster of two runtimes changes."""
    return WordTable(
        title="Where one runtime overtakes another",
        note="Between neighbouring resolutions the ratio is taken as a power of the side. No number where fewer than "
        "95 % of the resamples cross there.",
        headings=("threads", "batch", "faster below", "faster above", "at px"),
        labels=4,
        rows=tuple(_crossing_row(row) for row in summary.crossings),
    )


def verdict_of(cell: ComputeCell) -> str:
    """``valid``, ``warning`` or ``invalid``."""
    return "invalid" if cell.reasons else "warning" if cell.warnings else "valid"


def _place_of(cell: ComputeCell) -> tuple[str, ...]:
    return str(cell.shape.resolution_px), str(cell.shape.batch), runtime_name(cell.runtime)


def _times_row(summary: ComputeSummary, cell: ComputeCell) -> tuple[str, ...]:
    place = (*_place_of(cell), f"{cell.calls:,}")
    if not cell.valid:
        return (*place, *[NONE] * 5, verdict_of(cell))
    return (
        *place,
        *(_shown(figure, "bare_ms") for figure in (cell.p50_ns, cell.p90_ns, cell.p99_ns)),
        "baseline" if cell.runtime == summary.baseline else _shown(cell.ratio, "plain"),
        _shown(cell.first_call_ns, "bare_ms"),
        verdict_of(cell),
    )


def _card_row(cell: ComputeCell, card: OnCard) -> tuple[str, ...]:
    times = (cell.p50_ns, card.event_p50_ns, card.to_card_p50_ns, card.to_host_p50_ns)
    return (*_place_of(cell), *(_shown(time, "bare_ms") for time in times), _scaled(card.energy_j_per_image, 1e3))


def _use_row(cell: ComputeCell) -> tuple[str, ...]:
    return (
        *_place_of(cell),
        _shown(cell.images_per_s, "plain"),
        _scaled(cell.cpu_s_per_image, 1e3),
        str(cell.busy_threads),
        *_reached_words(cell.reached),
    )


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number != 1 else ''}"


def _reached_words(reached: Reached | None) -> tuple[str, ...]:
    if reached is None:
        return NONE, NONE, NONE
    return (
        value_of(_scaled_figure(reached.flops_per_s, 1e-9), "plain"),
        value_of(reached.of_peak, "percent"),
        value_of(reached.of_roof, "percent"),
    )


def _start_row(start: ComputeStart, sides: Sequence[int]) -> tuple[str, ...]:
    return (
        runtime_name(start.runtime),
        str(start.threads),
        _shown(start.import_ns, "bare_ms"),
        *(_shown(start.load_ns.get(side), "bare_ms") for side in sides),
        f"{start.peak_memory_bytes / MEBIBYTE:,.0f}",
    )


def _peak_row(limit: MachineLimits, roof: Roof) -> tuple[str, ...]:
    return str(limit.threads), f"{roof.precision} product", f"{roof.peak_flops_per_s / 1e9:,.1f} GFLOP/s", roof.library


def _scaling_row(row: ScalingRow) -> tuple[str, ...]:
    scaling = row.scaling
    return (
        str(row.threads),
        str(row.batch),
        runtime_name(row.runtime),
        _shown(scaling.overhead_ns, "bare_ms"),
        _shown(scaling.slope_ns_per_px, "plain"),
        _shown(scaling.exponent, "plain"),
        _shown(scaling.off_by, "percent"),
    )


def _crossing_row(row: CrossingRow) -> tuple[str, ...]:
    crossing = row.crossing
    point = _shown(crossing.resolution_px, "plain")
    return (
        str(row.threads),
        str(row.batch),
        runtime_name(crossing.faster_below),
        runtime_name(crossing.faster_above),
        point if point != NONE else sample_of(crossing.resolution_px),
    )


def _shown(figure: Figure | None, form: str) -> str:
    """``1.23 (1.20–1.26)``; a dash where there is no number."""
    interval = interval_of(figure, form).replace(" to ", "–")
    return f"{value_of(figure, form)} ({interval})" if interval else value_of(figure, form)


def _scaled(figure: Figure, factor: float) -> str:
    return _shown(_scaled_figure(figure, factor), "plain")


def _scaled_figure(figure: Figure, factor: float) -> Figure:
    return figure.scaled(factor) if isinstance(figure, Estimate) else figure
