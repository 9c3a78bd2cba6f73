"""The charts of a compute run: time against resolution, and the roofline."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from analysis.compute.limit import Roof
from analysis.compute.summary import ComputeCell, ComputeSummary
from analysis.plots import Spec, chosen_runtimes, resolution_axis, runtime_colour, runtime_shape, styled
from analysis.statistics import Estimate
from analysis.wording import interval_of, runtime_name, value_of
from contract.timing import NS_PER_MS

# Roofs are drawn from a quarter of the least intensity to four times the largest.
MARGIN = 4.0


def growth_chart(summary: ComputeSummary, threads: int, batch: int) -> Spec | None:
    """Median time of a call against resolution, a line per runtime, log scales, 95 % intervals."""
    cells = [cell for cell in summary.of_threads(threads) if cell.shape.batch == batch and cell.valid]
    rows = [_time_row(cell) for cell in cells if isinstance(cell.p50_ns, Estimate)]
    if not rows:
        return None
    sides = sorted({row["resolution_px"] for row in rows})
    chosen = chosen_runtimes()
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=resolution_axis(sides),
        color=runtime_colour(summary.runtimes),
        opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12)),
    )
    scale = alt.Scale(type="log", nice=False)
    middle = alt.Y("value_ms:Q", title="median call, ms", scale=scale, axis=alt.Axis(format="~g"))
    intervals = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low_ms:Q", title="", scale=scale), y2="high_ms:Q")
    points = base.mark_point(size=70, filled=True).encode(
        y=middle, shape=runtime_shape(summary.runtimes), tooltip=_tooltip("value_ms")
    )
    layers = alt.layer(base.mark_line(strokeWidth=2).encode(y=middle), intervals, points).add_params(chosen)
    return styled(layers.properties(height=280))


def roofline_chart(summary: ComputeSummary, threads: int) -> Spec | None:
    """FLOPs per second against FLOPs per byte, under the roof of every precision; none without a measured limit."""
    cells = [cell for cell in summary.of_threads(threads) if cell.valid and cell.reached is not None]
    rows = [_roof_row(cell) for cell in cells if isinstance(cell.p50_ns, Estimate)]
    used = {summary.run.plan.precisions[cell.runtime] for cell in cells}
    roofs = [roof for roof in summary.roofs if roof.threads == threads and roof.precision in used]
    if not rows or not roofs:
        return None
    xs = [row["intensity"] for row in rows]
    lines = [row for roof in roofs for row in _roof_line(roof, min(xs) / MARGIN, max(xs) * MARGIN)]
    x = alt.X("intensity:Q", title="FLOPs per byte, by the network", scale=alt.Scale(type="log"), axis=_sparse())
    y = alt.Y("gflops:Q", title="GFLOP/s", scale=alt.Scale(type="log"), axis=_sparse())
    roof_lines = (
        alt.Chart(alt.InlineData(values=lines))
        .mark_line(color="currentColor", opacity=0.6)
        .encode(x=x, y=y, strokeDash=alt.StrokeDash("precision:N", title=None, legend=alt.Legend(orient="top")))
    )
    chosen = chosen_runtimes()
    points = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(size=50, filled=True)
        .encode(
            x=x,
            y=y,
            color=runtime_colour(summary.runtimes),
            shape=runtime_shape(summary.runtimes),
            opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12)),
            tooltip=_tooltip("gflops"),
        )
    )
    return styled(alt.layer(roof_lines, points).add_params(chosen).properties(height=300))


def _roof_line(roof: Roof, low: float, high: float) -> list[Spec]:
    """Memory's slope, the ridge, arithmetic's ceiling."""
    ridge = roof.peak_flops_per_s / roof.bytes_per_s
    places = [low, *([ridge] if low < ridge < high else []), high]
    return [
        {"intensity": place, "gflops": roof.at(place) / 1e9, "precision": f"roof, {roof.precision}"} for place in places
    ]


def _time_row(cell: ComputeCell) -> Spec:
    assert isinstance(cell.p50_ns, Estimate)  # by the caller
    low_ms, high_ms = cell.p50_ns.low / NS_PER_MS, cell.p50_ns.high / NS_PER_MS
    return {**_place(cell), "value_ms": cell.p50_ns.value / NS_PER_MS, "low_ms": low_ms, "high_ms": high_ms}


def _roof_row(cell: ComputeCell) -> Spec:
    assert isinstance(cell.p50_ns, Estimate)  # by the caller
    assert cell.reached is not None
    work = cell.reached.work
    return {**_place(cell), "intensity": work.intensity, "gflops": work.flops / cell.p50_ns.value}


def _place(cell: ComputeCell) -> Spec:
    return {
        "runtime": runtime_name(cell.runtime),
        "resolution_px": cell.shape.resolution_px,
        "batch": cell.shape.batch,
        "median": value_of(cell.p50_ns, "ms"),
        "interval": interval_of(cell.p50_ns, "ms"),
    }


def _tooltip(value: str) -> Sequence[alt.Tooltip]:
    return [
        alt.Tooltip("runtime:N"),
        alt.Tooltip("resolution_px:Q", title="resolution, px"),
        alt.Tooltip("batch:Q"),
        alt.Tooltip("median:N"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip(f"{value}:Q", format=".3~g"),
    ]


def _sparse() -> alt.Axis:
    return alt.Axis(format="~g", tickCount=6)
