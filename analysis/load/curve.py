"""Response time against throughput: the steps of a ladder or a search, each judged by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.load.runs import Requests
from analysis.statistics import Absent, Estimate, Figure, median, percentile
from contract.records.load import CellOutcome, Scenario, StepOutcome
from contract.statistics.rates import holds_limit, keeps_up
from contract.timing import NS_PER_MS, NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step. ``answers_per_s`` counts answers that came before the step's end; times count from the schedule.

    ``passed``: it kept up, and where there is a limit p99 held it at 99 % confidence.
    ``late``: the load generator was, so that the times are not the service's alone.
    """

    step: int
    rate_per_s: float
    answers_per_s: float
    due: int
    answered: int
    failed: int
    dropped: int
    response_p50_ns: Figure
    response_p99_ns: Figure
    keeps_up: bool
    passed: bool
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """All steps by rising rate. The highest rate lies between ``highest_passed`` and ``lowest_missed``."""

    runtime: str
    resolution_px: int
    scenario: Scenario
    points: tuple[Point, ...]

    @property
    def knee(self) -> Point | None:
        """Of the rates carried, that with the most throughput per median response time (Kleinrock's power)."""
        kept = [(point, point.response_p50_ns) for point in self.points if point.passed]
        powers = [(point.answers_per_s / p50.value, point) for point, p50 in kept if isinstance(p50, Estimate)]
        return max(powers, key=lambda pair: pair[0])[1] if powers else None

    @property
    def lowest_missed(self) -> Point | None:
        """The lowest rate that the service did not carry."""
        return next((point for point in self.points if not point.passed), None)

    @property
    def highest_passed(self) -> Point | None:
        """The highest rate below every miss: a pass above one was luck."""
        missed = self.lowest_missed
        below = [point for point in self.points if missed is None or point.rate_per_s < missed.rate_per_s]
        return below[-1] if below else None


def curve_of(outcome: CellOutcome, requests: Requests, send_delay_p99_ms: float) -> Curve | None:
    """The curve that a valid cell's records give; None for a scenario without steps."""
    scenario = outcome.scenario
    if scenario is None or not scenario.has_steps:
        return None
    points = [
        _point(step, requests.only(requests.step == step.step), scenario, send_delay_p99_ms) for step in outcome.steps
    ]
    return Curve(
        runtime=outcome.cell.runtime,
        resolution_px=outcome.cell.resolution_px,
        scenario=scenario,
        points=tuple(sorted(points, key=lambda point: point.rate_per_s)),
    )


def _point(step: StepOutcome, requests: Requests, scenario: Scenario, send_delay_p99_ms: float) -> Point:
    recounted = _recounted(step, requests, scenario.p99_limit_s)
    answers = requests.answers()
    times: Sequence[Figure] = (median(answers.response_time_ns), percentile(answers.response_time_ns, 0.99))
    late = len(answers) > 0 and bool(np.quantile(answers.send_delay_ns, 0.99) > send_delay_p99_ms * NS_PER_MS)
    if late:
        times = [Absent("the load generator was late", len(answers))] * 2
    kept = keeps_up(recounted)
    return Point(
        step=step.step,
        rate_per_s=step.rate_per_s or 0.0,
        answers_per_s=recounted.by_end * NS_PER_S / (step.end_ns - step.measured_from_ns),
        due=recounted.due,
        answered=len(answers),
        failed=int((requests.measured & ~requests.ok).sum()),
        dropped=step.dropped,
        response_p50_ns=times[0],
        response_p99_ns=times[1],
        keeps_up=kept,
        passed=kept and (scenario.p99_limit_s is None or holds_limit(recounted)),
        late=late,
    )


def _recounted(step: StepOutcome, requests: Requests, limit_s: float | None) -> StepOutcome:
    """The counts anew from the raw records; what was never sent is known from the generator alone."""
    answers = requests.answers()
    limit_ns = np.inf if limit_s is None else limit_s * NS_PER_S
    return replace(
        step,
        by_end=int((answers.finished_ns <= step.end_ns).sum()),
        in_time=int((answers.response_time_ns <= limit_ns).sum()),
    )
