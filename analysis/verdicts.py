"""A cell judges itself before anything is compared.

A reason makes the cell invalid, and no number of it is printed. A warning is printed
beside the numbers. Both say what happened and what to do next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from analysis.answers import agreement_with, without_class
from analysis.runs import NOT_RECORDED, RecordedCell, Requests, Run
from analysis.statistics import Absent, Estimate, fewest_requests, median, name_of
from contract.errors import InvalidSettings
from contract.records import ArtifactFacts, CellOutcome, OfflinePredictions, Scenario
from contract.timing import PARTS, TOTAL

Status = Literal["valid", "invalid", "missing"]

NS_PER_MS = 1_000_000
PRINTED_PERCENTILES = (0.9, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where trust ends. Every limit in force is printed in the report."""

    # Locust's own warning level: above it, its loop is what is measured.
    generator_cpu_share: float = 0.9
    # On a quiet core the 99th percentile is 1 ms; on a shared two-core machine 4 to 6 were measured.
    send_delay_p99_ms: float = 20.0
    # Of the median response time; above it the number says more of the generator than of the service.
    send_delay_share: float = 0.1
    # How far the median may move between the halves of a cell before it is named, and before it is refused.
    drift_to_name: float = 1.1
    drift_to_refuse: float = 1.25
    # The parts add up to the service's total within the larger of the two.
    parts_gap_share: float = 0.01
    parts_gap_us: float = 20.0

    def __post_init__(self) -> None:
        if not 1 < self.drift_to_name <= self.drift_to_refuse:
            raise InvalidSettings(
                f"drift_to_name ({self.drift_to_name}) must be above 1 and at most drift_to_refuse "
                f"({self.drift_to_refuse})"
            )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check noticed; ``fatal`` makes the cell invalid."""

    fatal: bool
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.what}. Next: {self.todo}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``reasons`` are empty for a valid cell; ``warnings`` may stand beside its numbers.

    ``disturbed`` says of an invalid cell that nothing but the machine or the generator
    was at fault: repeating it may help, and nothing is wrong with the service.
    """

    status: Status
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    disturbed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the checks of one finished cell look at."""

    requests: Requests
    outcome: CellOutcome
    artifact: ArtifactFacts | None
    predictions: OfflinePredictions | None
    data_source: str
    cores: int
    torn: bool
    limits: Limits


def judge(run: Run, recorded: RecordedCell, limits: Limits | None = None) -> Verdict:
    """Whether ``recorded`` has numbers, and what to know beside them."""
    kept = f"records of {len(recorded.requests):,} requests kept"
    if recorded.damage:
        return Verdict(status="invalid", reasons=recorded.damage)
    if recorded.outcome is None:
        began = len(recorded.requests) > 0 or recorded.torn
        what = f"the run stopped inside this cell; {kept}" if began else "the run stopped before this cell"
        return Verdict(status="missing", reasons=(f"{what}. Next: resume the run",))
    if recorded.outcome.error is not None:
        return Verdict(status="invalid", reasons=(f"{recorded.outcome.error} ({kept})",))
    evidence = _evidence_of(run, recorded, recorded.outcome, limits or Limits())
    found = [(check, finding) for check in CHECKS for finding in check(evidence)]
    fatal = [check for check, finding in found if finding.fatal]
    return Verdict(
        status="invalid" if fatal else "valid",
        reasons=tuple(str(finding) for _, finding in found if finding.fatal),
        warnings=tuple(str(finding) for _, finding in found if not finding.fatal),
        disturbed=bool(fatal) and DISTURBANCES.issuperset(fatal),
    )


def _evidence_of(run: Run, recorded: RecordedCell, outcome: CellOutcome, limits: Limits) -> Evidence:
    key = (recorded.cell.runtime, recorded.cell.resolution_px)
    artifacts = {(artifact.runtime, artifact.resolution_px): artifact for artifact in run.plan.artifacts}
    return Evidence(
        requests=recorded.requests,
        outcome=outcome,
        artifact=artifacts.get(key),
        predictions=run.offline.get(key),
        data_source=run.plan.data_source,
        cores=run.plan.environment.cores,
        torn=recorded.torn,
        limits=limits,
    )


def _too_few(evidence: Evidence) -> Iterator[Finding]:
    answered = len(evidence.requests.answers())
    todo = "measure longer (duration_s)"
    if answered < fewest_requests(0.5):
        yield Finding(
            True, f"{answered} answered requests are too few for a median; it takes {fewest_requests(0.5)}", todo
        )
        return
    for share in PRINTED_PERCENTILES:
        if answered < (needed := fewest_requests(share)):
            yield Finding(
                False, f"{answered} answered requests are too few for {name_of(share)}, which takes {needed}", todo
            )


def _failures(evidence: Evidence) -> Iterator[Finding]:
    requests = evidence.requests
    failed = ~requests.ok & ~requests.aborted
    measured, warmup = int((requests.measured & failed).sum()), int((~requests.measured & failed).sum())
    kinds = "; ".join(f"{count} x {failure}" for failure, count in islice(requests.failures.items(), 3))
    todo = "read the service's log, then repeat the cell"
    if measured:
        yield Finding(True, f"{measured} of {int(requests.measured.sum())} measured requests failed ({kinds})", todo)
    if warmup:
        yield Finding(False, f"{warmup} requests failed during warm-up ({kinds})", todo)
    if unnamed := without_class(requests):
        yield Finding(True, f"{unnamed} positive answers named no class", "check what answers at this address")


def _dropped(evidence: Evidence) -> Iterator[Finding]:
    outcome = evidence.outcome
    if outcome.dropped:
        yield Finding(
            True,
            f"{outcome.dropped} arrivals were never sent, because too many requests were in flight",
            "lower the arrival rate: the service does not keep up with it",
        )
    allowed = outcome.scenario.users if outcome.scenario and outcome.scenario.kind == "closed_loop" else 0
    if outcome.aborted > allowed:
        yield Finding(
            True,
            f"{outcome.aborted} requests were cut off before their answer, and the slowest are among them",
            "let the load test wait for the last answers",
        )


def _generator(evidence: Evidence) -> Iterator[Finding]:
    outcome, limits = evidence.outcome, evidence.limits
    share = outcome.generator_cpu_share
    if share is None:
        yield Finding(False, "the load generator's CPU use is not recorded", "install psutil and repeat the cell")
    elif share > limits.generator_cpu_share:
        yield Finding(
            True,
            f"the load generator was saturated: {share:.0%} of its core, the limit is {limits.generator_cpu_share:.0%}",
            "lower the rate or give the generator more cores",
        )
    if shared := sorted(set(outcome.service_cores) & set(outcome.generator_cores)):
        cores = ", ".join(map(str, shared))
        yield Finding(False, f"service and load generator shared core {cores}", "measure on a machine with more cores")


def _send_delay(evidence: Evidence) -> Iterator[Finding]:
    requests, limits = evidence.requests.answers(), evidence.limits
    if _kind(evidence.outcome.scenario) != "open_loop" or len(requests) == 0:
        return
    todo = "lower the rate, or keep other work off the generator's core"
    late_ms = float(np.quantile(requests.send_delay_ns, 0.99)) / NS_PER_MS
    if late_ms > limits.send_delay_p99_ms:
        yield Finding(
            True,
            f"the load generator was late: p99 of its send delay over {len(requests)} requests is {late_ms:.3g} ms, "
            f"the limit is {limits.send_delay_p99_ms:.3g} ms",
            todo,
        )
        return
    share = float(np.median(requests.send_delay_ns)) / max(float(np.median(requests.response_time_ns)), 1.0)
    if share > limits.send_delay_share:
        yield Finding(
            False,
            f"{share:.0%} of the median response time (n = {len(requests)}) is the generator's own delay in sending",
            f"read the round trip beside it, or {todo}",
        )


def _drift(evidence: Evidence) -> Iterator[Finding]:
    times_ns = evidence.requests.answers().response_time_ns
    half = len(times_ns) // 2
    first, second = median(times_ns[:half]), median(times_ns[half:])
    if isinstance(first, Absent) or isinstance(second, Absent):
        return
    moved = _moved_for_certain(first, second)
    if moved > evidence.limits.drift_to_name:
        yield Finding(
            moved > evidence.limits.drift_to_refuse,
            f"not stationary: the median response time was {_in_ms(first)} in the first half and {_in_ms(second)} "
            "in the second",
            "warm up longer, lower the rate, or keep the machine quiet",
        )


def _moved_for_certain(first: Estimate, second: Estimate) -> float:
    """The factor by which two medians differ even at the nearest ends of their intervals; 1 where they overlap."""
    return max(1.0, second.low / max(first.high, 1.0), first.low / max(second.high, 1.0))


def _answers(evidence: Evidence) -> Iterator[Finding]:
    predictions, artifact = evidence.predictions, evidence.artifact
    if predictions is None:
        yield Finding(False, "there are no offline predictions to hold the answers against", "hemabench run")
        return
    if artifact is not None and predictions.artifact_digest != artifact.digest:
        yield Finding(True, "the offline predictions are of another artifact than the one planned", "hemabench run")
    if predictions.data_source != evidence.data_source:
        yield Finding(True, f"the offline predictions are of {predictions.data_source!r} images", "hemabench run")
    agreement = agreement_with(predictions, evidence.requests)
    if agreement.differing:
        first = ", ".join(map(str, agreement.differing[:5]))
        yield Finding(
            True,
            f"{len(agreement.differing)} of {agreement.images} images were answered differently from the offline "
            f"predictions (images {first}{', ...' if len(agreement.differing) > 5 else ''})",
            "hemabench verify",
        )
    if agreement.unknown:
        yield Finding(
            False, f"{agreement.unknown} of {agreement.images} images have no offline prediction", "hemabench run"
        )


def _counts(evidence: Evidence) -> Iterator[Finding]:
    outcome, requests = evidence.outcome, evidence.requests
    todo = "repeat the cell; if it happens again, report it as a bug of the load test"
    if outcome.started != outcome.ok + outcome.failed + outcome.aborted:
        yield Finding(
            True,
            f"{outcome.started} requests were started, but {outcome.ok} ok + {outcome.failed} failed + "
            f"{outcome.aborted} aborted are counted",
            todo,
        )
    ok, aborted = int(requests.ok.sum()), int(requests.aborted.sum())
    recorded = (ok, len(requests) - ok - aborted, aborted)
    counted = (outcome.ok, outcome.failed, outcome.aborted)
    if evidence.torn or recorded != counted:
        torn = ", its last line torn" if evidence.torn else ""
        yield Finding(
            True,
            "the journal{} holds {} ok, {} failed and {} aborted requests; the load test counted {}, {} and {}".format(
                torn, *recorded, *counted
            ),
            todo,
        )
    yield from _service_count(outcome, todo)


def _service_count(outcome: CellOutcome, todo: str) -> Iterator[Finding]:
    count = outcome.answered_by_service
    if count is None:
        yield Finding(False, "the service's own count of answers is not recorded", "check that /metrics is reachable")
        return
    # The service may have answered a request that its client no longer waited for.
    most = outcome.ok + outcome.failed + outcome.aborted
    if not outcome.ok <= count <= most:
        yield Finding(True, f"the service counted {count} positive answers, the load test {outcome.ok}", todo)


def _parts(evidence: Evidence) -> Iterator[Finding]:
    requests, limits = evidence.requests.answers(), evidence.limits
    columns = [requests.parts_ns[part] for part in PARTS]
    total = requests.parts_ns[TOTAL]
    whole = np.logical_and.reduce([column != NOT_RECORDED for column in (*columns, total)])
    if missing := int((~whole).sum()):
        yield Finding(
            False,
            f"{missing} of {len(requests)} answers carried no complete Server-Timing",
            "check that no proxy removes it",
        )
    gap = np.abs(total - sum(columns))[whole]
    allowed = np.maximum(limits.parts_gap_share * total[whole], limits.parts_gap_us * 1_000)
    if off := int((gap > allowed).sum()):
        yield Finding(
            False,
            f"in {off} of {int(whole.sum())} answers the parts do not add up to the service's total",
            "report it as a bug of the service",
        )


def _busy_machine(evidence: Evidence) -> Iterator[Finding]:
    if evidence.outcome.load_average > evidence.cores:
        yield Finding(
            False,
            # Without the figure itself, so that cells with the same trouble share one line in the terminal.
            f"the machine was busy when the cell began: its load average was above its {evidence.cores} cores",
            "stop other work and repeat the cell",
        )


def _kind(scenario: Scenario | None) -> str | None:
    return None if scenario is None else scenario.kind


def _in_ms(estimate: Estimate) -> str:
    value, low, high = (f"{ns / NS_PER_MS:.3g}" for ns in (estimate.value, estimate.low, estimate.high))
    return f"{value} ms ({low} to {high}, n = {estimate.n})"


Check = Callable[[Evidence], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    _too_few,
    _failures,
    _dropped,
    _generator,
    _send_delay,
    _drift,
    _answers,
    _counts,
    _parts,
    _busy_machine,
)

# What a busy machine does to a cell, whatever the service is like.
DISTURBANCES = frozenset({_too_few, _dropped, _generator, _send_delay, _drift})
