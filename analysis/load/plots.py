"""The charts of load: times against resolution, in parts, as a distribution, against throughput, beside inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt

from analysis.load.curve import Curve, Point
from analysis.load.figures import QUANTILES, Figures
from analysis.load.summary import Contender, RunSummary
from analysis.load.tax import EVEN, ServingTax
from analysis.plots import Spec, chosen_runtimes, decade_ticks, resolution_axis, runtime_colour, runtime_shape, styled
from analysis.statistics import Estimate, Figure
from analysis.wording import interval_of, part_name, runtime_name, value_of
from contract.timing import NS_PER_MS, PARTS

Quantity = Literal["response", "infer"]

BAR_HEIGHT_PX = 32
# Tol's muted palette, by part, in the order a request passes through them.
PART_COLOURS = {
    "read": "#88CCEE",
    "decode": "#44AA99",
    "preprocess": "#999933",
    "queue": "#DDCC77",
    "infer": "#CC6677",
    "encode": "#AA4499",
    "network": "#8C8C8C",
}
QUANTITY_TITLES = {"response": "median response time, ms", "infer": "median inference time, ms"}
NAMED_SHARES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
OUTCOMES = {"carried": "#2F84C6", "knee": "#009E73", "missed": "#D55E00"}


_TIME_TOOLTIP = [
    alt.Tooltip("runtime:N", title="runtime"),
    alt.Tooltip("resolution_px:Q", title="resolution, px"),
    alt.Tooltip("value:N", title="median"),
    alt.Tooltip("interval:N", title="95 % interval, ms"),
    alt.Tooltip("n:N", title="n"),
]
_PART_TOOLTIP = [
    alt.Tooltip("runtime:N", title="runtime"),
    alt.Tooltip("part:N", title="part"),
    alt.Tooltip("value:N", title="median"),
    alt.Tooltip("interval:N", title="95 % interval, ms"),
    alt.Tooltip("n:N", title="n"),
]


def time_chart(summary: RunSummary, scenario: str, quantity: Quantity) -> Spec | None:
    """Median time against resolution, a line per runtime, log scale, 95 % intervals; none without numbers."""
    rows = [_time_row(contender, quantity) for contender in summary.of_scenario(scenario)]
    lows, highs = ([row[end] for row in rows if row[end] is not None] for end in ("low_ms", "high_ms"))
    if not lows:
        return None
    sides = sorted({row["resolution_px"] for row in rows})
    title, domain = QUANTITY_TITLES[quantity], [0.8 * min(lows), 1.25 * max(highs)]
    scale = alt.Scale(type="log", domain=domain, nice=False)
    chosen = chosen_runtimes()
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=resolution_axis(sides),
        color=runtime_colour(summary.runtimes),
        opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12)),
    )
    middle = alt.Y("value_ms:Q", title=title, scale=scale, axis=alt.Axis(values=decade_ticks(*domain), format="~g"))
    lines = base.mark_line(strokeWidth=2, invalid="break-paths-filter-domains").encode(y=middle)
    intervals = base.mark_rule(strokeWidth=2, invalid="filter").encode(
        y=alt.Y("low_ms:Q", title=title, scale=scale), y2="high_ms:Q"
    )
    points = base.mark_point(size=70, filled=True, invalid="filter").encode(
        y=middle,
        shape=runtime_shape(summary.runtimes),
        tooltip=_TIME_TOOLTIP,
    )
    return styled(alt.layer(lines, intervals, points).add_params(chosen).properties(height=280))


def parts_chart(summary: RunSummary, scenario: str, resolution_px: int) -> Spec | None:
    """A bar per runtime, stacked from the median of each part and of network and framework; none without numbers."""
    rows = [
        row
        for contender in summary.of_scenario(scenario)
        if contender.figures and contender.resolution_px == resolution_px
        for row in _part_rows(contender.runtime, contender.figures)
    ]
    if not rows:
        return None
    names = [part_name(part) for part in PART_COLOURS]
    runtimes = [runtime_name(runtime) for runtime in summary.runtimes if runtime_name(runtime) in _column(rows)]
    bars = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            y=alt.Y("runtime:N", title=None, sort=runtimes, axis=alt.Axis(ticks=False, domain=False, labelPadding=6)),
            x=alt.X("value_ms:Q", title="sum of medians, ms", axis=alt.Axis(tickCount=5)),
            color=alt.Color("part:N", scale=alt.Scale(domain=names, range=list(PART_COLOURS.values())), legend=None),
            order=alt.Order("order:Q"),
            tooltip=_PART_TOOLTIP,
        )
        .properties(height=BAR_HEIGHT_PX * len(runtimes))
    )
    return styled(bars)


def distribution_chart(summary: RunSummary, scenario: str, resolution_px: int) -> Spec | None:
    """The share of requests answered within a time, a step line per runtime; none without numbers."""
    contenders = [one for one in summary.of_scenario(scenario) if one.figures and one.resolution_px == resolution_px]
    rows = [
        {"runtime": runtime_name(one.runtime), "share": share, "value_ms": max(time_ns, 1.0) / NS_PER_MS}
        for one in contenders
        if one.figures
        for share, time_ns in zip(QUANTILES, one.figures.response_quantiles_ns, strict=False)
    ]
    if not rows:
        return None
    chosen = chosen_runtimes()
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("value_ms:Q", title="response time, ms", scale=alt.Scale(type="log")),
            y=alt.Y("share:Q", title="share of requests", axis=alt.Axis(format="%")),
            color=runtime_colour(summary.runtimes),
            opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12)),
            order="share:Q",
        )
    )
    marks = [{"share": share, "name": name} for share, name in NAMED_SHARES]
    named = alt.Chart(alt.InlineData(values=marks)).encode(y="share:Q")
    rules = named.mark_rule(strokeDash=[2, 4], opacity=0.5, color="currentColor")
    text = named.mark_text(align="left", dy=-5, color="currentColor").encode(x=alt.value(4), text="name:N")
    return styled(alt.layer(rules, text, lines).add_params(chosen).properties(height=260))


def curve_chart(curve: Curve) -> Spec | None:
    """Median and p99 response time against answers per second, the knee marked; none without numbers."""
    rows = [row for point in curve.points for row in _curve_rows(curve, point)]
    if not rows:
        return None
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("answers_per_s:Q", title="answers per second"),
        y=alt.Y("value_ms:Q", title="response time, ms", scale=alt.Scale(type="log")),
        detail="percentile:N",
    )
    lines = base.mark_line(strokeWidth=2, color="currentColor", opacity=0.6).encode(
        strokeDash=alt.StrokeDash("percentile:N", title=None, legend=alt.Legend(orient="top")), order="rate_per_s:Q"
    )
    intervals = base.mark_rule().encode(y="low_ms:Q", y2="high_ms:Q")
    points = base.mark_point(size=70, filled=True).encode(
        color=alt.Color(
            "outcome:N",
            title=None,
            scale=alt.Scale(domain=list(OUTCOMES), range=list(OUTCOMES.values())),
            legend=alt.Legend(orient="top"),
        ),
        shape=alt.Shape("outcome:N", title=None, scale=alt.Scale(domain=list(OUTCOMES))),
        tooltip=["rate_per_s:Q", "answers_per_s:Q", "percentile:N", "value:N", "interval:N", "n:Q"],
    )
    return styled(alt.layer(lines, intervals, points).properties(height=280))


def tax_chart(summary: RunSummary, taxes: Sequence[ServingTax]) -> Spec | None:
    """Serving tax against resolution, a line per runtime; below the dashed rule the model outweighs the server."""
    rows = [
        {
            "runtime": runtime_name(tax.runtime),
            "resolution_px": tax.resolution_px,
            "value": tax.tax.value,
            "low": tax.tax.low,
            "high": tax.tax.high,
        }
        for tax in taxes
        if isinstance(tax.tax, Estimate)
    ]
    if not rows:
        return None
    sides = sorted({tax.resolution_px for tax in taxes})
    chosen = chosen_runtimes()
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=resolution_axis(sides),
        color=runtime_colour(summary.runtimes),
        opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12)),
    )
    y = alt.Y("value:Q", title="round trip ÷ inference", scale=alt.Scale(type="log", nice=True))
    even = alt.Chart(alt.InlineData(values=[{"even": EVEN}])).mark_rule(strokeDash=[4, 4], color="currentColor")
    layers = (
        even.encode(y=alt.Y("even:Q", title="round trip ÷ inference")),
        base.mark_line(strokeWidth=2).encode(y=y),
        base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q"),
        base.mark_point(size=70, filled=True).encode(y=y, shape=runtime_shape(summary.runtimes)),
    )
    return styled(alt.layer(*layers).add_params(chosen).properties(height=260))


def _time_row(contender: Contender, quantity: Quantity) -> Spec:
    """A mark; its values are None without a number, so that the line breaks there instead of bridging it."""
    place = {"runtime": runtime_name(contender.runtime), "resolution_px": contender.resolution_px}
    figures = contender.figures
    figure = figures and (figures.response_p50_ns if quantity == "response" else figures.infer_p50_ns)
    if not isinstance(figure, Estimate) or figure.low <= 0:  # a log scale has no place for zero
        return {**place, "value_ms": None, "low_ms": None, "high_ms": None}
    return {
        **place,
        "value_ms": figure.value / NS_PER_MS,
        "low_ms": figure.low / NS_PER_MS,
        "high_ms": figure.high / NS_PER_MS,
        **_words(figure),
    }


def _part_rows(runtime: str, figures: Figures) -> list[Spec]:
    medians: dict[str, Figure] = {**{part: figures.parts_p50_ns[part] for part in PARTS}}
    medians["network"] = figures.network_p50_ns
    return [
        {
            "runtime": runtime_name(runtime),
            "part": part_name(part),
            "order": list(PART_COLOURS).index(part),
            "value_ms": figure.value / NS_PER_MS,
            **_words(figure),
        }
        for part, figure in medians.items()
        if isinstance(figure, Estimate)
    ]


def _words(figure: Estimate) -> dict[str, str]:
    return {
        "value": value_of(figure, "ms"),
        "interval": interval_of(figure, "ms"),
        "n": f"{figure.n:,} {figure.of}",
    }


def _column(rows: Sequence[Spec]) -> set[str]:
    return {row["runtime"] for row in rows}


def _curve_rows(curve: Curve, point: Point) -> list[Spec]:
    outcome = "knee" if point == curve.knee else "carried" if point.passed else "missed"
    percentiles: dict[str, Figure] = {"p50": point.response_p50_ns, "p99": point.response_p99_ns}
    return [
        {
            "rate_per_s": point.rate_per_s,
            "answers_per_s": point.answers_per_s,
            "percentile": name,
            "outcome": outcome,
            "value_ms": figure.value / NS_PER_MS,
            "low_ms": figure.low / NS_PER_MS,
            "high_ms": figure.high / NS_PER_MS,
            "value": value_of(figure, "ms"),
            "interval": interval_of(figure, "ms"),
            "n": point.answered,
        }
        for name, figure in percentiles.items()
        if isinstance(figure, Estimate) and figure.low > 0
    ]
