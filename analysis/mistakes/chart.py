"""One chart: how the reported times, and with them the winner, move with each mistake."""

from __future__ import annotations

from typing import Any

import altair as alt

from analysis.mistakes.summary import Effect, MistakesSummary
from analysis.mistakes.wording import leaders_name
from analysis.plots import RUNTIME_COLOURS, Spec, decade_ticks, static_svg, styled
from analysis.statistics import Estimate
from analysis.wording import runtime_name
from contract.records.mistakes import FRAMEWORKS
from contract.timing import NS_PER_MS

ROW_PX = 44
WIDTH_PX = 520
NOBODY = "nobody: measured carefully"
SHAPES = ("circle", "square", "triangle-up")


def mistakes_chart(summary: MistakesSummary) -> Spec | None:
    """A row per mistake and in it a lane per framework: from the time without (ring) to the time with it (filled).

    The winner is written at the right of its row, in bold where it is another one. None without a ranking.
    """
    effects = [effect for effect in summary.effects if effect.moved is not None]
    if not effects:
        return None
    rows = [row for effect in effects for row in _rows(effect)]
    titles = [effect.mistake.title for effect in effects]
    words = [{"mistake": effect.mistake.title, "winner": _winner(effect), "moved": effect.moved} for effect in effects]
    ends = [row[end] for row in rows for end in ("without_ms", "low_ms", "high_ms")]
    times = _times(rows, titles, [0.8 * min(ends), 1.25 * max(ends)])
    chart = alt.hconcat(times, _winners(words, titles), spacing=4)
    return styled(chart)


def _times(rows: list[Spec], titles: list[str], domain: list[float]) -> Any:
    names = [runtime_name(name) for name in FRAMEWORKS]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y(
            "mistake:N",
            title=None,
            sort=titles,
            scale=_BAND,
            axis=alt.Axis(labelLimit=330, ticks=False, domain=False, grid=False, labelPadding=8),
        ),
        yOffset=alt.YOffset("framework:N", sort=names, scale=alt.Scale(domain=names)),
        color=alt.Color(
            "framework:N",
            title=None,
            scale=alt.Scale(domain=names, range=[RUNTIME_COLOURS[name] for name in FRAMEWORKS]),
            legend=alt.Legend(orient="top", symbolOpacity=1),
        ),
        shape=alt.Shape(
            "framework:N",
            title=None,
            scale=alt.Scale(domain=names, range=list(SHAPES)),
            legend=alt.Legend(orient="top"),
        ),
    )
    axis = alt.Axis(format="~g", grid=True, values=decade_ticks(*domain, digits=(1, 3)), orient="bottom")
    scale = alt.Scale(type="log", domain=domain, nice=False)
    x = alt.X("with_ms:Q", title="reported time of one image, ms (ring: without the mistake)", scale=scale, axis=axis)
    moves = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(x=alt.X("without_ms:Q", scale=scale), x2="with_ms:Q")
    intervals = base.mark_rule(strokeWidth=5, opacity=0.35).encode(x=alt.X("low_ms:Q", scale=scale), x2="high_ms:Q")
    rings = base.mark_point(size=75, filled=False, fillOpacity=0, strokeWidth=1.4, opacity=1).encode(
        x=alt.X("without_ms:Q", scale=scale)
    )
    marks = base.mark_point(size=45, filled=True, opacity=1).encode(x=x)
    height = ROW_PX * len(titles)
    return alt.layer(intervals, moves, rings, marks).properties(width=WIDTH_PX, height=height)


def _winners(words: list[Spec], titles: list[str]) -> Any:
    base = alt.Chart(alt.InlineData(values=words)).encode(
        y=alt.Y("mistake:N", sort=titles, axis=None, scale=_BAND),
        x=alt.value(0),
        text="winner:N",
    )
    plain = base.transform_filter("datum.moved != 'moved'").mark_text(align="left", fontSize=12, color="currentColor")
    bold = base.transform_filter("datum.moved == 'moved'").mark_text(
        align="left", fontSize=12, fontWeight="bold", color="currentColor"
    )
    height = ROW_PX * len(titles)
    return alt.layer(plain, bold).properties(width=230, height=height, title=_TITLE)


# The same for both halves, so that a row's words stand beside its marks.
_BAND = alt.Scale(type="band", paddingInner=0.25, paddingOuter=0.125)
_TITLE = alt.TitleParams("winner", anchor="start", fontSize=12, fontWeight="normal", color="currentColor")


def _rows(effect: Effect) -> list[Spec]:
    rows = []
    for name in FRAMEWORKS:
        without, with_ = effect.without[name], effect.with_[name]
        if isinstance(without, Estimate) and isinstance(with_, Estimate):
            rows.append(
                {
                    "mistake": effect.mistake.title,
                    "framework": runtime_name(name),
                    "without_ms": without.value / NS_PER_MS,
                    "with_ms": with_.value / NS_PER_MS,
                    "low_ms": with_.low / NS_PER_MS,
                    "high_ms": with_.high / NS_PER_MS,
                }
            )
    return rows


def _winner(effect: Effect) -> str:
    before, after = leaders_name(effect.leaders_without), leaders_name(effect.leaders_with)
    if effect.other_winners is not None:
        return f"{effect.other_winners:.0%} of draws: not {before}"
    return before if effect.moved == "same" else f"{before} → {after}"


def static_png(spec: Spec) -> bytes:
    """The chart as a picture on white, for documents and terminals that show pictures."""
    import vl_convert

    svg = static_svg(spec | {"background": "white"}).replace("currentColor", "#1a1a1a")
    png: bytes = vl_convert.svg_to_png(svg, scale=2)
    return png
