"""Counters and histograms of one service, read by Prometheus and by load tests.

Kept in plain integers, because all requests pass one thread; prometheus_client only
writes them out when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from contract.timing import NS_PER_S
from serving.runtimes.base import Runtime

# Seconds; a small model on a CPU answers in a fraction of a millisecond.
BUCKETS_S = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0, 8.0)
_BUCKETS_NS = [round(bound * NS_PER_S) for bound in BUCKETS_S]
OK = "ok"
ABORTED = "client_gone"


class Histogram:
    """How many durations fell at or below each bound, and their sum."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_NS) + 1)
        self.sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """Count one duration."""
        self.counts[bisect_left(_BUCKETS_NS, duration_ns)] += 1
        self.sum_ns += duration_ns

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus's buckets: (upper bound, how many at or below)."""
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        running, buckets = 0, []
        for bound, count in zip(bounds, self.counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        return buckets


def _histograms() -> defaultdict[str, Histogram]:
    return defaultdict(Histogram)


class Measurements:
    """What a service counted since it started. started = ok + refused + failed + aborted + running."""

    def __init__(self) -> None:
        self.started = 0
        self.outcomes: Counter[tuple[str, str, int]] = Counter()  # resolution, code, status
        self.out_of_distribution: Counter[str] = Counter()  # answered images by resolution
        self.icc_profiles_ignored = 0
        self.audit_lines_lost = 0
        self.reloads: Counter[str] = Counter({"done": 0, "refused": 0})
        self._parts: defaultdict[str, defaultdict[str, Histogram]] = defaultdict(_histograms)

    def finished(self, resolution: str, code: str, status: int) -> None:
        """Count how a classification ended; ``status`` is 0 where nobody was left to answer."""
        self.outcomes[resolution, code, status] += 1

    def answered(self, resolution: str, parts_ns: Mapping[str, int]) -> None:
        """Count a positive answer and where its time went."""
        self.outcomes[resolution, OK, 200] += 1
        histograms = self._parts[resolution]
        for part, duration in parts_ns.items():
            histograms[part].observe(duration)

    def answered_at(self, resolution: str) -> int:
        """Positive answers at ``resolution``."""
        return self.outcomes[resolution, OK, 200]

    def totals(self) -> dict[str, int]:
        """Classifications by how they ended; what is ``running`` has not."""
        totals = {"started": self.started, "ok": 0, "refused": 0, "failed": 0, "aborted": 0}
        for (_, code, status), count in self.outcomes.items():
            kind = "ok" if code == OK else "aborted" if code == ABORTED else "refused" if status < 500 else "failed"
            totals[kind] += count
        totals["running"] = self.started - sum(self.outcomes.values())
        return totals

    def families(self) -> Iterator[Metric]:
        """Everything, as Prometheus names it."""
        requests = CounterMetricFamily(
            "hemabench_requests", "Classifications that ended, by how.", labels=("resolution", "code", "status")
        )
        for (resolution, code, status), count in self.outcomes.items():
            requests.add_metric((resolution, code, str(status)), count)
        yield requests
        parts = HistogramMetricFamily(
            "hemabench_request_part_seconds", "Parts of answered requests.", labels=("resolution", "part")
        )
        for resolution, histograms in self._parts.items():
            for part, histogram in histograms.items():
                parts.add_metric((resolution, part), histogram.cumulative(), histogram.sum_ns / NS_PER_S)
        yield parts
        unlike = CounterMetricFamily(
            "hemabench_out_of_distribution",
            "Classified images that are unlike the training images.",
            labels=("resolution",),
        )
        for resolution, count in self.out_of_distribution.items():
            unlike.add_metric((resolution,), count)
        yield unlike
        yield CounterMetricFamily("hemabench_requests_started", "Classifications that began.", value=self.started)
        yield CounterMetricFamily(
            "hemabench_icc_profiles_ignored",
            "Images whose colour profile was ignored.",
            value=self.icc_profiles_ignored,
        )
        yield CounterMetricFamily(
            "hemabench_audit_lines_lost", "Lines that the audit log's disk refused.", value=self.audit_lines_lost
        )
        reloads = CounterMetricFamily(
            "hemabench_reloads",
            "Changed artifacts that took over, and looks at one that was refused.",
            labels=("outcome",),
        )
        for outcome, count in self.reloads.items():
            reloads.add_metric((outcome,), count)
        yield reloads


class CompilationCounter:
    """Compilations of ``runtime`` from now on, which a ready service must not have: each is a request's long wait."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._before = runtime.compilations()

    def leave_out(self, compilations: int) -> None:
        """So many were of a model that was loaded while others answered; no request waited for them."""
        self._before += compilations

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client's registry."""
        yield CounterMetricFamily(
            "hemabench_compilations_after_ready",
            "Programs compiled since the service was ready.",
            value=self._runtime.compilations() - self._before,
        )


class Exposition:
    """The text of ``/metrics``: a service's `Measurements`, its line, its identity, and its process."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, measurements: Measurements, line_length: Callable[[], int], identity: Mapping[str, str]) -> None:
        self._measurements = measurements
        self._line_length = line_length
        self._identity = dict(identity)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client's registry."""
        yield from self._measurements.families()
        yield GaugeMetricFamily(
            "hemabench_line_length", "Requests waiting for the model or running.", value=self._line_length()
        )
        yield InfoMetricFamily("hemabench_service", "What serves.", value=self._identity)

    def add(self, collector: Collector) -> None:
        """From now on expose what ``collector`` collects as well."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
