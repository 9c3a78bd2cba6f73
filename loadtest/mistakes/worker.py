"""One framework in a process of its own: it builds its ways of calling, and times those it is told to.

    python -m loadtest.mistakes.worker settings.json SOCKET

The guard above this process has pinned it and set its environment before anything was imported.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Literal, Protocol, cast

import numpy as np

from contract.architecture import spec_named
from contract.arrays import FloatArray
from contract.dataset import load_dataset
from contract.parity import Tolerance, require_parity
from contract.records.mistakes import CAREFUL
from contract.storage import read_json
from contract.weights import load_weights
from loadtest.compute.link import answer_commands
from loadtest.mistakes.sample import Sample, Subject, sample_of
from loadtest.mistakes.table import SAME_CODE

SAMPLES = 16  # images that a burst goes through, so that no call meets the pixels of the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a worker needs to know; ``reference`` are the float64 reference's logits of its first images."""

    framework: str
    threads: int | None
    model: str
    weights: str
    resolution_px: int
    photographs: str
    positions: tuple[int, ...]
    reference: tuple[tuple[float, ...], ...]
    other_answers: tuple[str, ...]  # ways that need not agree with the reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``time`` makes ``calls`` calls, fewer where ``limit_ns`` is over; the others take none of both."""

    kind: Literal["describe", "time", "difference", "answers"]
    way: str = CAREFUL
    calls: int = 0
    limit_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was asked for, the rest empty."""

    facts: dict[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] = ()
    import_ns: int = 0
    build_ns: int = 0
    started_ns: tuple[int, ...] = ()
    finished_ns: tuple[int, ...] = ()
    difference: float = 0.0
    classes: tuple[int, ...] = ()


class Ways(Protocol):
    """What `loadtest.mistakes.pytorch` and its siblings offer, besides a method per way."""

    def wait(self, result: object) -> None:
        """Until everything that was called for has been computed."""
        ...

    def describe(self) -> dict[str, str]:
        """Library and threads, as the framework reports them."""
        ...


Call = Callable[[Sample], object]


class Worker:
    """The ways of one framework, and the images they are given."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        dataset = load_dataset(Path(settings.photographs))
        self._photographs = [dataset.images[position] for position in settings.positions]
        self._samples = [sample_of(image, settings.resolution_px) for image in self._photographs[:SAMPLES]]
        spec = spec_named(settings.model)
        subject = Subject(
            spec=spec, weights=load_weights(Path(settings.weights), spec), resolution_px=settings.resolution_px
        )
        began_ns = perf_counter_ns()
        module = import_module(f"loadtest.mistakes.{settings.framework}")
        self._import_ns = perf_counter_ns() - began_ns
        self._ways: Ways = module.Ways(subject, settings.threads)
        self._build_ns = perf_counter_ns() - began_ns - self._import_ns

    def answer(self, command: Command) -> Reply:
        """Do what ``command`` says."""
        return _ANSWERS[command.kind](self, command)

    def describe(self, command: Command) -> Reply:
        """How this process began and where it runs."""
        cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
        return Reply(facts=self._ways.describe(), cores=cores, import_ns=self._import_ns, build_ns=self._build_ns)

    def time(self, command: Command) -> Reply:
        """One burst, after everything that was queued before it."""
        call = self._call(command.way)
        gc.collect()
        started, finished, last = burst(call, self._samples, command.calls, command.limit_ns)
        self._ways.wait(last)
        return Reply(started_ns=tuple(started), finished_ns=tuple(finished))

    def difference(self, command: Command) -> Reply:
        """The largest difference of a logit from the reference; an error where the way must not have one."""
        reference = np.array(self._settings.reference, np.float32)
        call = self._call(command.way)
        logits = np.concatenate([_on_host(call(sample)) for sample in self._samples[: len(reference)]])
        if command.way not in self._settings.other_answers:
            require_parity(f"{self._settings.framework}, {command.way}", logits, reference, Tolerance())
        return Reply(difference=float(np.abs(logits - reference).max()))

    def answers(self, command: Command) -> Reply:
        """The class of every image, one at a time."""
        call, side = self._call(command.way), self._settings.resolution_px
        return Reply(classes=tuple(int(_on_host(call(sample_of(image, side))).argmax()) for image in self._photographs))

    def _call(self, way: str) -> Call:
        return cast(Call, getattr(self._ways, SAME_CODE.get(way, way)))


_ANSWERS: Mapping[str, Callable[[Worker, Command], Reply]] = {
    "describe": Worker.describe,
    "time": Worker.time,
    "difference": Worker.difference,
    "answers": Worker.answers,
}


def burst(call: Call, samples: Sequence[Sample], calls: int, limit_ns: int) -> tuple[list[int], list[int], object]:
    """When up to ``calls`` calls began and returned, and what the last one gave; none begins after ``limit_ns``."""
    started: list[int] = []
    finished: list[int] = []
    result: object = None
    until_ns = perf_counter_ns() + limit_ns
    for number in range(calls):
        sample = samples[number % len(samples)]
        began_ns = perf_counter_ns()
        result = call(sample)
        ended_ns = perf_counter_ns()
        started.append(began_ns)
        finished.append(ended_ns)
        if ended_ns >= until_ns:
            break
    return started, finished, result


def _on_host(logits: object) -> FloatArray:
    return cast(FloatArray, np.asarray(logits))


def main(arguments: list[str]) -> int:
    """Serve the commands of whoever wrote the settings."""
    settings = read_json(Path(arguments[0]), WorkerSettings)
    if settings.framework == "tensorflow":
        # TensorFlow Lite imports JAX wherever it is installed. One process holds one framework.
        cast(dict[str, ModuleType | None], sys.modules).setdefault("jax", None)
    answer_commands(arguments[1], Command, Worker(settings).answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
