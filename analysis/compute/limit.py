"""How close a call comes to what the machine can do: the roofline.

Work and traffic come from the network, not from the runtime: a direct convolution's FLOPs, and
every activation written once and read once, every weight read once a call. A runtime that
fuses layers or keeps them in a cache moves less, and may go past the roof over memory; one that
convolves by another algorithm computes less, and may go past the peak.

Source: S. Williams, A. Waterman, D. Patterson, CACM 52 (2009) 65, doi:10.1145/1498765.1498785.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics import Absent, Estimate, Figure
from contract.architecture import FLOAT32_BYTES, ModelSpec
from contract.parity import Precision
from contract.records.compute import MachineLimits, Shape
from contract.timing import NS_PER_S

BYTES_OF: dict[Precision, int] = {"float32": 4, "tf32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one call must do, by the network alone."""

    flops: int
    traffic_bytes: int

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.traffic_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The fastest product of a precision, by ``library``, and the fastest walk through memory."""

    threads: int
    precision: Precision
    library: str
    peak_flops_per_s: float
    bytes_per_s: float

    def at(self, intensity: float) -> float:
        """FLOPs per second that memory and arithmetic together allow."""
        return min(self.peak_flops_per_s, intensity * self.bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A cell under its roof."""

    work: Work
    flops_per_s: Figure
    of_peak: Figure
    of_roof: Figure


def work_of(spec: ModelSpec, shape: Shape, precision: Precision) -> Work:
    """FLOPs and bytes of one call; the input and the logits are float32 whatever is computed in between."""
    costs = spec.costs(shape.resolution_px)
    size = BYTES_OF[precision]
    inside = 2 * sum(cost.activation_bytes for cost in costs) // FLOAT32_BYTES * size
    input_bytes = FLOAT32_BYTES * shape.resolution_px**2 * spec.input_channels
    weights = size * sum(cost.parameters for cost in costs)
    return Work(
        flops=shape.batch * sum(cost.flops for cost in costs),
        traffic_bytes=shape.batch * (inside + input_bytes) + weights,
    )


def roofs_of(limits: Sequence[MachineLimits]) -> dict[tuple[int, Precision], Roof]:
    """The roof of every number of threads and precision that was measured."""
    roofs: dict[tuple[int, Precision], Roof] = {}
    for limit in limits:
        bandwidth = limit.triad.traffic_bytes / min(limit.triad.passes_ns) * NS_PER_S
        for peak in limit.peaks:
            rate = peak.flops / min(peak.took_ns) * NS_PER_S
            known = roofs.get((limit.threads, peak.precision))
            if known is None or rate > known.peak_flops_per_s:
                roofs[limit.threads, peak.precision] = Roof(
                    threads=limit.threads,
                    precision=peak.precision,
                    library=peak.library,
                    peak_flops_per_s=rate,
                    bytes_per_s=bandwidth,
                )
    return roofs


def reached(work: Work, p50_ns: Figure, roof: Roof | None) -> Reached:
    """FLOPs per second of the median call, alone and as shares of peak and roof."""
    if not isinstance(p50_ns, Estimate):
        return Reached(work=work, flops_per_s=p50_ns, of_peak=p50_ns, of_roof=p50_ns)
    rate = _inverse(p50_ns, work.flops * NS_PER_S)
    if roof is None:
        none = Absent("the limit of this device was not measured")
        return Reached(work=work, flops_per_s=rate, of_peak=none, of_roof=none)
    return Reached(
        work=work,
        flops_per_s=rate,
        of_peak=rate.scaled(1 / roof.peak_flops_per_s),
        of_roof=rate.scaled(1 / roof.at(work.intensity)),
    )


def _inverse(estimate: Estimate, numerator: float) -> Estimate:
    """``numerator`` over a positive estimate; its interval turns round."""
    return Estimate(
        numerator / estimate.value, numerator / estimate.high, numerator / estimate.low, estimate.n, estimate.of
    )
