"""What a published study claims of these frameworks, each answered by this run in one paragraph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.compute.summary import ComputeCell, ComputeSummary, ScalingRow, ratio_of_cells
from analysis.differences import MINIMUM_EFFECT
from analysis.statistics import Absent, Estimate, Figure
from analysis.wording import interval_of, listed, runtime_name, value_of
from contract.records.compute import Shape

CLAIMED_RATIO = 1.8
HIGH_RESOLUTION_PX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A claim in the study's words, and ours beside it."""

    claim: str
    answer: str


def answered_claims(summary: ComputeSummary) -> list[Answered]:
    """Both claims about speed; what this run did not measure is said to be so."""
    return [
        Answered(
            claim="JAX is 1.8 times as fast as PyTorch at high resolution.",
            answer=_jax_against_pytorch(summary),
        ),
        Answered(
            claim="Inference time grows non-linearly with resolution.",
            answer=_growth(summary),
        ),
    ]


def harness_sentence(summary: ComputeSummary) -> str:
    """What the harness itself costs in every number."""
    cost = summary.harness_ns
    if not isinstance(cost, Estimate):
        return f"The harness's own cost is not known: {cost.reason}."
    verdict = "" if cost.value < 5_000 else " That is above the 5 µs that this harness promises."
    return (
        f"The harness's own cost, timed with a runtime that computes nothing, is {cost.value / 1e3:.2f} µs a call "
        f"({cost.low / 1e3:.2f} to {cost.high / 1e3:.2f}, n = {cost.n:,} calls) and is part of every number.{verdict}"
    )


def fastest_sentences(summary: ComputeSummary) -> list[str]:
    """The fastest runtime of every division and number of threads, at the smallest and the largest image, batch 1."""
    shapes = sorted({cell.shape for cell in summary.cells if cell.shape.batch == 1})
    sentences = []
    for threads in summary.threads:
        for shape in dict.fromkeys((shapes[0], shapes[-1])) if shapes else ():
            for division in ("closed", "open"):
                found = [cell for cell in _division(summary, division, threads, shape) if cell.valid]
                if len(found) > 1:
                    sentences.append(_fastest(summary, division, found))
    return sentences


def _fastest(summary: ComputeSummary, division: str, cells: Sequence[ComputeCell]) -> str:
    first, *others = sorted(
        cells, key=lambda cell: cell.p50_ns.value if isinstance(cell.p50_ns, Estimate) else float("inf")
    )
    ratios = {other.runtime: ratio_of_cells(summary.run, other, first) for other in others}
    level = [name for name, ratio in ratios.items() if not _is_surely_more(ratio)]
    names = listed(runtime_name(name) for name in (first.runtime, *level))
    value, second = f"{value_of(first.p50_ns, 'ms')} ({interval_of(first.p50_ns, 'ms')})", others[0].runtime
    ahead = (
        f"cannot be told apart: {runtime_name(first.runtime)} takes {value}"
        if level
        else f"is the fastest with {value}"
    )
    return (
        f"{division.capitalize()} division, {first.shape.resolution_px} px, batch 1, {_threads(first.threads)}: "
        f"{names} {ahead}; {runtime_name(second)} takes {_ratio_words(ratios[second])} its time."
    )


def _is_surely_more(ratio: Figure) -> bool:
    return isinstance(ratio, Estimate) and ratio.low > MINIMUM_EFFECT


def _division(summary: ComputeSummary, division: str, threads: int, shape: Shape) -> list[ComputeCell]:
    divisions = summary.run.plan.divisions
    return [cell for cell in summary.of_threads(threads) if cell.shape == shape and divisions[cell.runtime] == division]


def _jax_against_pytorch(summary: ComputeSummary) -> str:
    side = max((cell.shape.resolution_px for cell in summary.cells), default=0)
    if side < HIGH_RESOLUTION_PX:
        return f"Not answered by this run: its largest image is {side} px. Next: hemabench compute --profile full"
    found = [
        (cell, ratio_of_cells(summary.run, cell, jax))
        for threads in summary.threads
        for cell in summary.of_threads(threads)
        if cell.runtime == "pytorch" and cell.shape.resolution_px == side
        if (jax := summary.cell("jax", threads, cell.shape)) is not None and jax.valid and cell.valid
    ]
    if not found:
        return "Not answered by this run: PyTorch and JAX were not both measured and valid at its largest image."
    figures = [
        f"{_ratio_words(ratio)} at batch {cell.shape.batch} and {_threads(cell.threads)}" for cell, ratio in found
    ]
    return (
        f"Here, at {side} px, with the same network and the same weights as each framework exports them, PyTorch takes "
        f"this many times JAX's time: {listed(figures)}. {_judged([ratio for _, ratio in found])}"
    )


def _judged(ratios: Sequence[Figure]) -> str:
    known = [ratio for ratio in ratios if isinstance(ratio, Estimate)]
    meets = sum(ratio.low <= CLAIMED_RATIO <= ratio.high for ratio in known)
    above = sum(ratio.low > CLAIMED_RATIO for ratio in known)
    reverse = sum(ratio.high < 1 for ratio in known)
    return (
        f"Of {len(known)} ratios the intervals of {meets} hold 1.8 and {above} lie above it; in {reverse} PyTorch "
        "is the faster of the two. The factor belongs to a way of calling and to a shape, not to the frameworks."
    )


def _growth(summary: ComputeSummary) -> str:
    rows = [row for row in summary.scalings if row.batch == 1 and isinstance(row.scaling.exponent, Estimate)]
    if not rows:
        return "Not answered by this run: it has no two resolutions at batch 1."
    return f"{' '.join(_growth_of(rows, threads) for threads in summary.threads)} {_meaning(rows)}"


def _growth_of(rows: Sequence[ScalingRow], threads: int) -> str:
    words = [
        f"{runtime_name(row.runtime)} {value_of(row.scaling.exponent, 'plain')} "
        f"({interval_of(row.scaling.exponent, 'plain')})"
        for row in rows
        if row.threads == threads
    ]
    return (
        f"With {_threads(threads)} and batch 1 time grows as pixels to the power of: {listed(words)}." if words else ""
    )


def _meaning(rows: Sequence[ScalingRow]) -> str:
    errors = [row.scaling.off_by.value for row in rows if isinstance(row.scaling.off_by, Estimate)]
    if not errors:
        return "Two resolutions do not tell a line from a curve: three do."
    return (
        "Proportional to the pixels would be 1; below it, part of the time does not grow with the image. A constant "
        f"and a slope describe the measured medians to within {100 * min(errors):.0f} to {100 * max(errors):.0f} %, "
        "depending on the runtime. Where that error is small, what looks non-linear against the side of the image is a "
        "line in its pixels, with an overhead; where it is large, an algorithm changes or a cache is full."
    )


def _ratio_words(ratio: Figure) -> str:
    if isinstance(ratio, Absent):
        return f"(not known: {ratio.reason})"
    return f"{value_of(ratio, 'times')} ({interval_of(ratio, 'times')})"


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number != 1 else ''}"
