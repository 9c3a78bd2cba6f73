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

from analysis.load.answers import agreement_with, without_class
from analysis.load.curve import curve_of
from analysis.load.judging.findings import Evidence, Finding, Limits
from analysis.load.judging.machine import busy_machine, clock, compilations, other_guests, other_programs
from analysis.load.judging.stationarity import drift
from analysis.load.runs import NOT_RECORDED, RecordedCell, Run
from analysis.statistics import fewest_requests, name_of
from contract.records.load import CellOutcome, Scenario
from contract.timing import NS_PER_MS, PARTS, TOTAL

Status = Literal["valid", "invalid", "missing"]

PRINTED_PERCENTILES = (0.9, 0.99)


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
    found = [(check, finding) for check in _checks_of(evidence.outcome.scenario) for finding in check(evidence)]
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
    if outcome.aborted:
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
    if _kind(evidence.outcome.scenario) == "closed_loop" or len(requests) == 0:
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


def _late_steps(evidence: Evidence) -> Iterator[Finding]:
    """A rate that was missed while the generator was late says nothing about the service."""
    curve = curve_of(evidence.outcome, evidence.requests, evidence.limits.send_delay_p99_ms)
    late = [point for point in curve.points if point.late and not point.passed] if curve else []
    if late:
        rates = ", ".join(f"{point.rate_per_s:.4g}/s" for point in late)
        yield Finding(
            True,
            f"the load generator was late at {rates}: p99 of its send delay was above "
            f"{evidence.limits.send_delay_p99_ms:.3g} ms, so it is not known who could not keep up",
            "keep other work off the generator's core, or share the load among --workers",
        )


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


def _kind(scenario: Scenario | None) -> str | None:
    return None if scenario is None else scenario.kind


Check = Callable[[Evidence], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    _too_few,
    _failures,
    _dropped,
    _generator,
    _send_delay,
    _late_steps,
    drift,
    compilations,
    _answers,
    _counts,
    _parts,
    busy_machine,
    other_programs,
    other_guests,
    clock,
)

# A ladder and a search mean to overload the service: their steps are judged one by one, in `analysis.load.curve`.
NOT_OF_STEPS = frozenset({_too_few, _failures, _dropped, _send_delay, drift})
# Offline the wait grows by design, and a spike is not stationary.
NOT_OF_KIND = {"offline": frozenset({_send_delay, drift}), "spike": frozenset({drift})}


def _checks_of(scenario: Scenario | None) -> list[Check]:
    if scenario is None:
        return list(CHECKS)
    left_out = NOT_OF_STEPS if scenario.has_steps else NOT_OF_KIND.get(scenario.kind, frozenset())
    return [check for check in CHECKS if check not in left_out]


# What a busy machine does to a cell, whatever the service is like.
DISTURBANCES = frozenset({_too_few, _generator, _send_delay, _late_steps, drift, other_programs, other_guests, clock})
