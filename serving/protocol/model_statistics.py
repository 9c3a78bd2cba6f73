"""What one model did for the Open Inference Protocol's clients, in the shape of Triton's statistics extension."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from contract.timing import TOTAL


class DurationStatistic(msgspec.Struct):
    """How often something was measured, and the sum of its durations."""

    count: int = 0
    ns: int = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration."""
        self.count += 1
        self.ns += duration_ns


class BatchStatistics(msgspec.Struct):
    """Executions of one size."""

    batch_size: int
    compute_input: DurationStatistic
    compute_infer: DurationStatistic
    compute_output: DurationStatistic


class InferenceStatistics(msgspec.Struct):
    """Requests by how they ended, and the parts of those that were answered."""

    success: DurationStatistic
    fail: DurationStatistic
    queue: DurationStatistic
    compute_input: DurationStatistic
    compute_infer: DurationStatistic
    compute_output: DurationStatistic
    cache_hit: DurationStatistic
    cache_miss: DurationStatistic


class ModelStatistics(msgspec.Struct):
    """Counted since the model was loaded; ``inference_count`` counts images."""

    name: str
    version: str
    inference_stats: InferenceStatistics
    last_inference: int = 0
    inference_count: int = 0
    execution_count: int = 0
    batch_stats: list[BatchStatistics] = []  # msgspec copies it

    def answered(self, executions: Sequence[tuple[int, int]], parts_ns: dict[str, int]) -> None:
        """Count an answered request: each execution's images and duration, and the request's parts."""
        stats = self.inference_stats
        input_ns, output_ns = parts_ns["decode"] + parts_ns["preprocess"], parts_ns["encode"]
        stats.success.add(parts_ns[TOTAL])
        stats.queue.add(parts_ns["queue"])
        stats.compute_input.add(input_ns)
        stats.compute_infer.add(parts_ns["infer"])
        stats.compute_output.add(output_ns)
        self.last_inference = time.time_ns() // 1_000_000
        images = sum(size for size, _ in executions)
        self.inference_count += images
        self.execution_count += len(executions)
        for size, infer_ns in executions:
            batch = self._of_size(size)
            batch.compute_infer.add(infer_ns)
            batch.compute_input.add(input_ns * size // images)  # an execution's share of what its request took
            batch.compute_output.add(output_ns * size // images)

    def failed(self, duration_ns: int) -> None:
        """Count a request that was refused, failed or given up."""
        self.inference_stats.fail.add(duration_ns)

    def _of_size(self, size: int) -> BatchStatistics:
        for batch in self.batch_stats:
            if batch.batch_size == size:
                return batch
        self.batch_stats.append(BatchStatistics(size, DurationStatistic(), DurationStatistic(), DurationStatistic()))
        return self.batch_stats[-1]


def new_statistics(name: str, version: str) -> ModelStatistics:
    """Nothing counted yet."""
    return ModelStatistics(name, version, InferenceStatistics(*(DurationStatistic() for _ in range(8))))
