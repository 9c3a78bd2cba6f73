"""What serving costs beside the model: round trip against inference, with the null service as the floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.load.summary import Contender, RunSummary
from analysis.statistics import Absent, Estimate, Figure
from contract.records.load import NULL_RUNTIME

CLOSED_LOOP = "closed_loop"
# Inference is half of the round trip: from there on the model outweighs everything else.
EVEN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingTax:
    """Of one runtime at one resolution, one request at a time. ``floor_ns`` is the null service's round trip."""

    runtime: str
    resolution_px: int
    round_trip_ns: Figure
    infer_ns: Figure
    tax: Figure
    floor_ns: Figure

    @property
    def model_outweighs(self) -> bool | None:
        """Whether inference takes more than all the rest; None where the interval does not tell."""
        if not isinstance(self.tax, Estimate) or self.tax.low <= EVEN <= self.tax.high:
            return None
        return self.tax.high < EVEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossover:
    """From which resolution on the model of ``runtime`` surely outweighs the server; None where it does not at the
    highest: ``surely_not``, or its interval does not tell.
    """

    runtime: str
    from_px: int | None
    measured_px: tuple[int, ...]
    surely_not: bool = False


def serving_taxes(summary: RunSummary) -> tuple[ServingTax, ...]:
    """One per runtime and resolution with numbers, by resolution, then in the order of every table."""
    closed = summary.of_scenario(CLOSED_LOOP)
    floors = {one.resolution_px: _round_trip(one) for one in closed if one.runtime == NULL_RUNTIME}
    missing = Absent("the null service was not measured")
    return tuple(
        ServingTax(
            runtime=one.runtime,
            resolution_px=one.resolution_px,
            round_trip_ns=one.figures.round_trip_p50_ns,
            infer_ns=one.figures.infer_p50_ns,
            tax=one.figures.serving_tax,
            floor_ns=floors.get(one.resolution_px, missing),
        )
        for one in closed
        if one.figures and one.runtime != NULL_RUNTIME
    )


def crossovers(taxes: Sequence[ServingTax]) -> tuple[Crossover, ...]:
    """For each runtime the lowest resolution from which its model outweighs the server at every higher one, too."""
    found = []
    for runtime in dict.fromkeys(tax.runtime for tax in taxes):
        own = sorted((tax for tax in taxes if tax.runtime == runtime), key=lambda tax: tax.resolution_px)
        from_px = None
        for tax in reversed(own):
            if not tax.model_outweighs:
                break
            from_px = tax.resolution_px
        found.append(
            Crossover(
                runtime=runtime,
                from_px=from_px,
                measured_px=tuple(tax.resolution_px for tax in own),
                surely_not=own[-1].model_outweighs is False,
            )
        )
    return tuple(found)


def _round_trip(contender: Contender) -> Figure:
    return contender.figures.round_trip_p50_ns if contender.figures else Absent(f"the null cell is {contender.status}")
