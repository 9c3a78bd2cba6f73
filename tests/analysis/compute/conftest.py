"""Compute runs whose every call is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from analysis.compute.runs import ComputeRun
from contract.environment import Environment
from contract.records.compute import (
    CallBlock,
    ComputePlan,
    FirstCall,
    MachineLimits,
    Peak,
    ProcessStart,
    Shape,
    Sitting,
    Triad,
)
from contract.records.load import ArtifactFacts

MS = 1_000_000
ENVIRONMENT = Environment(
    cpu_model="Test CPU",
    cores=2,
    memory_bytes=8 << 30,
    accelerator=None,
    governor=None,
    system="Linux",
    python="3.11",
    libraries={"numpy": "2"},
)
LIMITS = MachineLimits(
    threads=1,
    peaks=(
        Peak(precision="float32", library="slow", side=1000, took_ns=(80 * MS, 80 * MS)),  # 25 GFLOP/s
        Peak(precision="float32", library="fast", side=1000, took_ns=(20 * MS, 20 * MS)),  # 100 GFLOP/s
    ),
    triad=Triad(library="fast", array_bytes=1 << 30, traffic_bytes=3 * 10**9, passes_ns=(300 * MS,)),  # 10 GB/s
    missing={"int8": "there is no such product"},
)

TimeOf = Callable[[str, Shape], float]  # milliseconds


def slow_and_fast(runtime: str, shape: Shape) -> float:
    """Overhead and slope by runtime: JAX overtakes PyTorch at 64 px, batch 1."""
    overhead, slope = {"pytorch": (0.1, 0.0002), "jax": (0.5, 0.0001), "null": (0.001, 0.0)}[runtime]
    return overhead + slope * shape.resolution_px**2 * shape.batch


@pytest.fixture(scope="session")
def make_run() -> Callable[..., ComputeRun]:
    """``make_run(time_of)``: PyTorch, JAX and the null runtime at 28 to 224 px, batches 1 and 8, in 3 processes."""

    def make(
        time_of: TimeOf = slow_and_fast,
        *,
        runtimes: tuple[str, ...] = ("pytorch", "jax", "null"),
        resolutions_px: tuple[int, ...] = (28, 64, 128, 224),
        batches: tuple[int, ...] = (1, 8),
        processes: int = 3,
        calls: int = 40,
        change: Callable[[CallBlock], CallBlock] = lambda block: block,
    ) -> ComputeRun:
        rng = np.random.default_rng(3)
        shapes = tuple(Shape(resolution_px=side, batch=batch) for side in resolutions_px for batch in batches)
        sittings = tuple(Sitting(repetition=number, threads=1) for number in range(1, processes + 1))
        places = [(name, sitting, shape) for sitting in sittings for name in runtimes for shape in shapes]

        def block(name: str, sitting: Sitting, shape: Shape) -> CallBlock:
            took = tuple(int(MS * time_of(name, shape) * factor) for factor in rng.normal(1, 0.01, calls))
            return change(
                CallBlock(
                    runtime=name,
                    sitting=sitting,
                    shape=shape,
                    round=1,
                    settling_ns=(),
                    took_ns=took,
                    wall_ns=sum(took),
                    cpu_ns=sum(took),
                    busy_threads=1,
                    compilations=0,
                    sleepers_cpu_ns=0,
                )
            )

        return ComputeRun(
            plan=_plan(runtimes, shapes, sittings),
            limits=(LIMITS,),
            starts=tuple(_start(name, sitting, resolutions_px) for sitting in sittings for name in runtimes),
            first_calls=tuple(_first(*place) for place in places),
            blocks=tuple(block(*place) for place in places),
            missing=(),
        )

    return make


def _plan(runtimes: tuple[str, ...], shapes: tuple[Shape, ...], sittings: tuple[Sitting, ...]) -> ComputePlan:
    artifact = {"model": "hemanet", "format": "some", "digest": "d" * 64, "weights_digest": "w" * 64}
    return ComputePlan(
        run="20260101T000000Z-compute-test",
        created="2026-01-01T00:00:00+00:00",
        profile="test",
        command="hemabench compute --profile test",
        environment=ENVIRONMENT,
        device="cpu",
        input="float32",
        artifacts=tuple(
            ArtifactFacts(runtime=name, resolution_px=side, parity_largest_difference=1e-6, parity_images=8, **artifact)
            for name in runtimes
            if name != "null"
            for side in sorted({shape.resolution_px for shape in shapes})
        ),
        runtimes=runtimes,
        divisions={name: "none" if name == "null" else "closed" for name in runtimes},
        precisions=dict.fromkeys(runtimes, "float32"),
        shapes=shapes,
        sittings=sittings,
        rounds=1,
        block_ns=MS,
        fewest_calls=11,
        most_calls=100,
        seed=0,
    )


def _start(runtime: str, sitting: Sitting, resolutions_px: tuple[int, ...]) -> ProcessStart:
    return ProcessStart(
        runtime=runtime,
        sitting=sitting,
        cores=(0,),
        import_ns=1_000 * MS,
        load_ns={} if runtime == "null" else dict.fromkeys(resolutions_px, 50 * MS),
        facts={"library": f"{runtime} 1"},
        load_average=0.0,
    )


def _first(runtime: str, sitting: Sitting, shape: Shape) -> FirstCall:
    return FirstCall(
        runtime=runtime,
        sitting=sitting,
        shape=shape,
        took_ns=200 * MS,
        compilations=1,
        largest_difference=None if runtime == "null" else 1e-6,
        peak_memory_bytes=300 << 20,
    )
