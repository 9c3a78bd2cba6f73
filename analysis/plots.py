"""The charts: one definition for the page, for paper and for pictures.

A chart is a Vega-Lite specification with its data inside. ``currentColor`` lets the page's
light or dark text colour through; marks use one colour-blind-safe colour per runtime and
per part, the same in every chart, and a shape besides, so that colour is never alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt

from analysis.wording import runtime_name

Spec = dict[str, Any]


# Okabe and Ito's palette, by runtime: at least 3:1 on white and on near-black.
RUNTIME_COLOURS = {
    "pytorch": "#D55E00",
    "tensorflow": "#CC79A7",
    "jax": "#2F84C6",
    "onnx": "#009E73",
    "null": "#8A8A8A",
}
SPARE_COLOURS = ("#B58900", "#6C71C4", "#7A5C3E", "#4F8A8B")

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


def decade_ticks(low: float, high: float, *, digits: Sequence[int] = (1, 2, 5)) -> list[float]:
    """``digits`` times each power of ten between ``low`` and ``high``."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for power in powers for digit in digits if low <= (tick := round(digit * 10.0**power, 9)) <= high]


def styled(chart: Any) -> Spec:
    """The specification alone: no schema address, and our own look."""
    spec: Spec = chart.to_dict()
    spec.pop("$schema", None)
    return spec | {"config": CONFIG}
