"""The figures of one contender: what its valid repetitions say, each with interval and n."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.load.answers import Agreement, accuracy, agreement_with
from analysis.load.runs import NOT_RECORDED, IntColumn, Requests, Run, pooled
from analysis.statistics import (
    Absent,
    Estimate,
    Figure,
    NumberColumn,
    across_runs,
    median,
    percentile_across_runs,
    rate_per_s,
)
from contract.records.load import NULL_RUNTIME, TRAINED_ON, RunPlan
from contract.timing import PARTS, TOTAL

# Denser towards the end, where the waiting is.
QUANTILES = (*(share / 100 for share in range(100)), 0.993, 0.995, 0.997, 0.999, 1.0)
Key = tuple[str, int, str]  # runtime, resolution, scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What valid repetitions of one contender say. Times are in nanoseconds.

    One repetition: medians and percentiles of its requests. Several: the median over
    repetitions of each repetition's figure; p90 and p99 of all their requests together.
    ``network_p50_ns`` is round trip minus service time, in each request; ``client_p50_ns`` are send delay, which
    is before it, and connecting and receiving, which are in it;
    ``parts_gap_p50_ns`` is service time minus the sum of its parts.
    """

    response_p50_ns: Figure
    response_p90_ns: Figure
    response_p99_ns: Figure
    round_trip_p50_ns: Figure
    service_p50_ns: Figure
    network_p50_ns: Figure
    client_p50_ns: dict[str, Figure]
    parts_p50_ns: dict[str, Figure]
    parts_gap_p50_ns: Figure
    serving_tax: Figure
    throughput_per_s: Figure
    accuracy: Figure
    agreement: Agreement | None
    response_quantiles_ns: tuple[float, ...] = ()  # at `QUANTILES`, of all repetitions' requests together

    @property
    def infer_p50_ns(self) -> Figure:
        """Inference alone."""
        return self.parts_p50_ns["infer"]


def figures_of(run: Run, key: Key, repetitions: Sequence[Requests]) -> Figures:
    """The figures of the answered, measured requests of one or more valid ``repetitions``."""

    def figure(name: str, statistic: Callable[[Requests], Figure]) -> Figure:
        return _over_runs([statistic(requests) for requests in repetitions], stream(run.plan, name, *key))

    def tail(name: str, share: float) -> Figure:
        times_ns = [requests.response_time_ns for requests in repetitions]
        return percentile_across_runs(times_ns, share, stream(run.plan, name, *key))

    together = pooled(repetitions)
    predictions = run.offline.get(key[:2])
    return Figures(
        response_p50_ns=figure("response_p50", lambda requests: median(requests.response_time_ns)),
        response_p90_ns=tail("response_p90", 0.9),
        response_p99_ns=tail("response_p99", 0.99),
        round_trip_p50_ns=figure("round_trip_p50", lambda requests: median(requests.round_trip_time_ns)),
        service_p50_ns=figure(TOTAL, partial(_part, name=TOTAL)),
        network_p50_ns=figure("network", lambda requests: median(_network_ns(requests))),
        client_p50_ns={
            "send_delay": figure("send_delay", lambda requests: median(requests.send_delay_ns)),
            "connect": figure("connect", lambda requests: median(requests.connect_ns)),
            "receive": figure("receive", lambda requests: median(requests.receive_ns)),
        },
        parts_p50_ns={part: figure(part, partial(_part, name=part)) for part in PARTS},
        parts_gap_p50_ns=figure("gap", lambda requests: median(_parts_gap_ns(requests))),
        serving_tax=(
            Absent("the null service infers nothing")
            if key[0] == NULL_RUNTIME
            else figure("serving_tax", lambda requests: median(_serving_tax(requests)))
        ),
        throughput_per_s=figure(
            "rate", lambda requests: rate_per_s(requests.finished_ns, stream(run.plan, "slices", *key))
        ),
        accuracy=_accuracy(run, key, together),
        agreement=agreement_with(predictions, together) if predictions else None,
        response_quantiles_ns=tuple(np.quantile(together.response_time_ns, QUANTILES).tolist()),
    )


def stream(plan: RunPlan, *names: object) -> np.random.Generator:
    """A random stream of its own per figure, so that one more figure changes no other."""
    return np.random.default_rng(zlib.crc32("/".join(map(str, (plan.seed, *names))).encode()))


def recorded(column: IntColumn) -> IntColumn:
    """The values of ``column`` that were recorded."""
    known: IntColumn = column[column != NOT_RECORDED]
    return known


def _over_runs(figures: Sequence[Figure], rng: np.random.Generator) -> Figure:
    """The figure of the only run, or the median over runs; a run without one leaves none."""
    for figure in figures:
        if isinstance(figure, Absent):
            return figure
    if len(figures) == 1:
        return figures[0]
    return across_runs([figure.value for figure in figures if isinstance(figure, Estimate)], rng)


def _accuracy(run: Run, key: Key, requests: Requests) -> Figure:
    if key[0] == NULL_RUNTIME:
        return Absent("the null service looks at no image")
    if not run.plan.data_is_real:
        return Absent("rendered images: accuracy is not measured")
    of_this = [one for one in run.cells if (one.cell.runtime, one.cell.resolution_px) == key[:2]]
    learnt = {one.outcome.service_facts.get(TRAINED_ON) for one in of_this if one.outcome}
    if others := learnt - {None, run.plan.data_description}:
        return Absent(f"the weights were trained on {others.pop()}, and may have seen these images")
    return accuracy(requests)


def _part(requests: Requests, name: str) -> Figure:
    return median(recorded(requests.parts_ns[name]))


def _network_ns(requests: Requests) -> IntColumn:
    total = requests.parts_ns[TOTAL]
    known = total != NOT_RECORDED
    network: IntColumn = requests.round_trip_time_ns[known] - total[known]
    return network


def _parts_gap_ns(requests: Requests) -> IntColumn:
    columns = np.stack([requests.parts_ns[part] for part in (*PARTS, TOTAL)])
    whole = columns[:, (columns != NOT_RECORDED).all(axis=0)]
    gap: IntColumn = whole[-1] - whole[:-1].sum(axis=0)
    return gap


def _serving_tax(requests: Requests) -> NumberColumn:
    infer = requests.parts_ns["infer"]
    known = infer > 0
    tax: NumberColumn = requests.round_trip_time_ns[known] / infer[known]
    return tax
