"""Loss and validation accuracy, epoch by epoch: one definition for the page and for pictures."""

from __future__ import annotations

from typing import Literal

import altair as alt

from analysis.plots import RUNTIME_COLOURS, Spec, styled
from analysis.training.summary import NetworkFigures
from analysis.training.wording import framework_name

Quantity = Literal["mean_loss", "validation_accuracy"]
COLOURS = {
    "pytorch": RUNTIME_COLOURS["pytorch"],
    "keras": RUNTIME_COLOURS["tensorflow"],
    "flax": RUNTIME_COLOURS["jax"],
}
TITLES = {"mean_loss": "training loss", "validation_accuracy": "validation accuracy"}


def curve(network: NetworkFigures, quantity: Quantity) -> Spec | None:
    """``quantity`` against the epoch, a line per run, a colour and a mark per framework; none without two epochs."""
    rows = [
        {
            "framework": framework_name(figures.run.framework),
            "run": figures.run.name,
            "seed": figures.run.seed,
            "epoch": epoch.epoch + 1,
            "value": getattr(epoch, quantity),
        }
        for figures in network.runs
        for epoch in figures.run.epochs
    ]
    if len({row["epoch"] for row in rows}) < 2:
        return None
    frameworks = [one.framework for one in network.frameworks]
    names = [framework_name(framework) for framework in frameworks]
    legend = alt.Legend(orient="top", symbolOpacity=1)
    colours = [COLOURS.get(framework, RUNTIME_COLOURS["null"]) for framework in frameworks]
    accuracy = quantity == "validation_accuracy"
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, grid=False, format="d")),
        y=alt.Y(
            "value:Q",
            title=TITLES[quantity],
            scale=alt.Scale(zero=False),
            axis=alt.Axis(format=".1%" if accuracy else "~g"),
        ),
        color=alt.Color("framework:N", title=None, scale=alt.Scale(domain=names, range=colours), legend=legend),
        detail="run:N",
    )
    marks = base.mark_point(size=22, filled=True, opacity=0.8).encode(
        shape=alt.Shape("framework:N", title=None, scale=alt.Scale(domain=names), legend=legend),
        tooltip=[
            alt.Tooltip("framework:N"),
            alt.Tooltip("seed:N"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("value:Q", title=TITLES[quantity], format=".2%" if accuracy else ".4f"),
        ],
    )
    return styled(alt.layer(base.mark_line(strokeWidth=1.2, opacity=0.7), marks).properties(height=260))
