"""Runs of `hemabench mistakes` as they lie on disk, with times that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from contract.environment import Environment
from contract.records.journal import JournalWriter
from contract.records.mistakes import (
    ANSWERS_FILE,
    BURSTS_FILE,
    CAREFUL,
    FRAMEWORKS,
    PLAN_FILE,
    PROCESSES_FILE,
    Answers,
    Burst,
    Mistake,
    MistakesPlan,
    ProcessRecord,
)
from contract.storage import write_json

MS = 1_000_000
ENVIRONMENT = Environment(
    cpu_model="a CPU",
    cores=2,
    memory_bytes=2**33,
    accelerator=None,
    governor=None,
    system="Linux",
    python="3.11.7",
    libraries={"numpy": "2.1"},
)


def mistake(**changes: object) -> Mistake:
    """A mistake of TensorFlow's, called ``looped``, unless ``changes`` say otherwise."""
    settings = {
        "name": "loop",
        "title": "Looped",
        "done": "loops",
        "why": "it costs",
        "evidence": ("https://example.com/1",),
        "expected": "slower",
        "ways": {"tensorflow": "looped"},
        "references": {},
    }
    return Mistake(**(settings | changes))


Times = dict[tuple[str, str], Sequence[int]]  # (framework, way) -> ns of the measured calls


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run: every process took ``times`` for its measured calls, and ``first_ns`` for the first careful one."""

    def write(
        times: Times,
        *mistakes: Mistake,
        processes: int = 5,
        first_ns: int = 400 * MS,
        answers: Sequence[Answers] = (),
        **changes: object,
    ) -> Path:
        write_json(tmp_path / PLAN_FILE, plan(mistakes, processes, **changes))
        with JournalWriter(tmp_path / PROCESSES_FILE) as journal:
            for framework in FRAMEWORKS:
                journal.append(process_record(framework))
        with JournalWriter(tmp_path / BURSTS_FILE) as journal:
            for process in range(processes):
                for (framework, way), taken_ns in times.items():
                    if way == CAREFUL:
                        journal.append(burst(framework, way, process, "first", [first_ns]))
                    journal.append(burst(framework, way, process, "warmup", [10**12]))
                    journal.append(burst(framework, way, process, "measured", taken_ns))
        with JournalWriter(tmp_path / ANSWERS_FILE) as journal:
            for one in answers:
                journal.append(one)
        return tmp_path

    return write


def plan(mistakes: Sequence[Mistake], processes: int, **changes: object) -> MistakesPlan:
    settings = {
        "run": "20260101T000000Z-mistakes-full",
        "created": "2026-01-01T00:00:00+00:00",
        "profile": "full",
        "command": "hemabench mistakes",
        "environment": ENVIRONMENT,
        "resolution_px": 28,
        "photograph_px": 128,
        "data_description": "cells",
        "data_is_real": True,
        "images": 4,
        "weights_digest": "0" * 64,
        "processes": processes,
        "load_average": 0.0,
        "seed": 0,
        "mistakes": tuple(mistakes),
    }
    return MistakesPlan(**(settings | changes))


def process_record(framework: str) -> ProcessRecord:
    return ProcessRecord(
        framework=framework,
        setup="one_thread",
        process=0,
        import_ns=1,
        build_ns=1,
        cores=(0,),
        facts={},
        largest_difference={"careful": 1e-6, "looped": 0.25},
    )


def burst(framework: str, way: str, process: int, phase: str, taken_ns: Sequence[int]) -> Burst:
    started = tuple(range(0, 10**6 * len(taken_ns), 10**6))
    finished = tuple(begin + taken for begin, taken in zip(started, taken_ns, strict=True))
    return Burst(
        framework=framework,
        setup="one_thread",
        process=process,
        way=way,
        phase=phase,
        round=0,
        started_ns=started,
        finished_ns=finished,
    )


def careful(pytorch: int, tensorflow: int, jax: int, calls: int = 700) -> Times:
    """Careful calls that all take the same time, in units of 0.1 ms."""
    each = dict(zip(FRAMEWORKS, (pytorch, tensorflow, jax), strict=True))
    return {(name, CAREFUL): [tenths * MS // 10] * calls for name, tenths in each.items()}


@pytest.fixture
def build() -> dict[str, Callable[..., object]]:
    """The builders of this file, for tests that take them by name."""
    return {"mistake": mistake, "careful": careful, "burst": burst}
