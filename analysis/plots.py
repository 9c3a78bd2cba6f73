"""The charts: one definition for the page, for paper and for pictures.

A chart is a Vega-Lite specification with its data inside. ``currentColor`` lets the page's
light or dark text colour through; marks use one colour-blind-safe colour per runtime and
per part, the same in every chart, and a shape besides, so that colour is never alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import altair as alt

from analysis.figures import Figures
from analysis.statistics import Estimate, Figure
from analysis.summary import Contender, RunSummary
from analysis.wording import interval_of, part_name, runtime_name, value_of
from contract.timing import PARTS

Spec = dict[str, Any]
Quantity = Literal["response", "infer"]

NS_PER_MS = 1_000_000
BAR_HEIGHT_PX = 32

# Okabe and Ito's palette, by runtime: at least 3:1 on white and on near-black.
RUNTIME_COLOURS = {
    "pytorch": "#D55E00",
    "tensorflow": "#CC79A7",
    "jax": "#2F84C6",
    "onnx": "#009E73",
    "null": "#8A8A8A",
}
SPARE_COLOURS = ("#B58900", "#6C71C4", "#7A5C3E", "#4F8A8B")
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

CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "tickColor": "currentColor",
        "domainColor": "currentColor",
        "gridColor": "currentColor",
        "domainOpacity": 0.4,
        "tickOpacity": 0.4,
        "gridOpacity": 0.12,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "columns": 4},
}


def runtime_colours(runtimes: Sequence[str]) -> dict[str, str]:
    """A colour per runtime: its own, or for one without, the next spare one."""
    spare = iter(SPARE_COLOURS * (1 + len(runtimes) // len(SPARE_COLOURS)))
    return {runtime: RUNTIME_COLOURS.get(runtime) or next(spare) for runtime in sorted(runtimes)}


def resolution_axis(sides: Sequence[int]) -> alt.X:
    """The x axis of everything against resolution: log scale, a tick for each of the ascending ``sides``."""
    return alt.X(
        "resolution_px:Q",
        title="resolution, px",
        scale=alt.Scale(type="log", base=2, domain=[sides[0] * 0.88, sides[-1] * 1.12], nice=False),
        axis=alt.Axis(values=list(sides), format="d", grid=False, labelOverlap=False),
    )


def runtime_colour(runtimes: Sequence[str]) -> alt.Color:
    """Colours by runtime, with a legend."""
    colours = runtime_colours(runtimes)
    scale = alt.Scale(domain=list(map(runtime_name, runtimes)), range=[colours[runtime] for runtime in runtimes])
    return alt.Color("runtime:N", title=None, scale=scale, legend=_RUNTIME_LEGEND)


def runtime_shape(runtimes: Sequence[str]) -> alt.Shape:
    """Shapes by runtime, in the same legend as the colours."""
    scale = alt.Scale(domain=list(map(runtime_name, runtimes)))
    return alt.Shape("runtime:N", title=None, scale=scale, legend=_RUNTIME_LEGEND)


def chosen_runtimes() -> alt.Parameter:
    """The runtimes that a reader clicks in the legend; all of them at first."""
    return alt.selection_point(name="chosen", fields=["runtime"], bind="legend")


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


def static_svg(spec: Spec, width_px: int | None = None) -> str:
    """The chart as SVG markup that needs no JavaScript; without ``width_px`` in its own size."""
    import vl_convert

    sized = spec if width_px is None else spec | {"width": width_px}
    svg: str = vl_convert.vegalite_to_svg(sized, vl_version=_VEGALITE)
    return svg


@lru_cache
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, so that a page needs no other host."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_VEGALITE)
    return bundle


_RUNTIME_LEGEND = alt.Legend(orient="top", symbolOpacity=1)
_VEGALITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
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


def decade_ticks(low: float, high: float, *, digits: Sequence[int] = (1, 2, 5)) -> list[float]:
    """``digits`` times each power of ten between ``low`` and ``high``."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for power in powers for digit in digits if low <= (tick := round(digit * 10.0**power, 9)) <= high]


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


def styled(chart: Any) -> Spec:
    """The specification alone: no schema address, and our own look."""
    spec: Spec = chart.to_dict()
    spec.pop("$schema", None)
    return spec | {"config": CONFIG}
