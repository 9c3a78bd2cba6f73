"""One runtime in a process of its own: it loads, proves its first call of every shape, and times those that follow.

    python -m loadtest.compute.worker settings.json SOCKET

The guard above this process has pinned it and set its environment before anything was imported.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contract.arrays import FloatArray, ImageArray
from contract.blood_cells import LABELS
from contract.errors import InvalidSettings, ParityError
from contract.manifest import artifact_folder, load_artifact
from contract.parity import GoldenBatch, require_parity
from contract.preprocessing import scale_pixels
from contract.records.compute import InputKind, Shape
from contract.storage import read_json
from loadtest.compute.energy import SHORTEST_NS, energy_counter
from loadtest.compute.events import event_times_ns
from loadtest.compute.link import answer_commands
from loadtest.compute.threads import busy_threads, thread_times_ns
from loadtest.compute.transfers import transfer_times_ns
from serving.inference.devices import parse_device
from serving.runtimes import create_runtime, entry_of, tolerance_of
from serving.runtimes.base import LoadedModel
from serving.runtimes.null import NullModel

MEMORY_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024  # what getrusage counts in
INPUTS_BYTES = 64 << 20  # several inputs in turn, so that no call meets the pixels of the one before
MOST_INPUTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a worker needs to know before it is asked anything."""

    runtime: str
    threads: int
    device: str
    artifacts: str
    resolutions_px: tuple[int, ...]
    input: InputKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to do.

    ``describe`` says how the process began, ``first`` makes and proves the first call of ``shape``.
    ``time`` makes ``settling`` calls, then between ``fewest`` and ``most``, none after ``limit_ns`` once it
    has the fewest; ``event_calls`` more are timed by the device's own clock, where it has one, and as many copies
    to a card and back.
    """

    kind: Literal["describe", "first", "time"]
    shape: Shape | None = None
    settling: int = 0
    fewest: int = 1
    most: int = 1
    limit_ns: int = 0
    event_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was asked for; see `contract.records.compute` for the fields."""

    cores: tuple[int, ...] = ()
    import_ns: int = 0
    load_ns: dict[int, int] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    took_ns: tuple[int, ...] = ()
    settling_ns: tuple[int, ...] = ()
    event_ns: tuple[int, ...] = ()
    to_card_ns: tuple[int, ...] = ()
    to_host_ns: tuple[int, ...] = ()
    energy_mj: int | None = None
    wall_ns: int = 0
    cpu_ns: int = 0
    busy_threads: int = 0
    compilations: int = 0
    largest_difference: float | None = None
    peak_memory_bytes: int = 0


Images = Any  # float32 in [-1, 1], or uint8: whichever the run is about
Predict = Callable[[Images], FloatArray]


class Worker:
    """One runtime with its models."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        format_ = entry_of(settings.runtime).format
        began_ns = perf_counter_ns()
        self._runtime = create_runtime(settings.runtime, parse_device(settings.device), settings.threads)
        self._import_ns = perf_counter_ns() - began_ns
        self._energy = energy_counter(settings.device)
        self._models: dict[int, LoadedModel] = {}
        self._golden: dict[int, GoldenBatch] = {}
        self._load_ns: dict[int, int] = {}
        self._inputs: dict[Shape, list[Images]] = {}
        for side in settings.resolutions_px:
            self._load(side, format_)

    def answer(self, command: Command) -> Reply:
        """Do what ``command`` says."""
        return _ANSWERS[command.kind](self, command)

    def describe(self, command: Command) -> Reply:
        """How this process began and where it runs."""
        return Reply(
            cores=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
            import_ns=self._import_ns,
            load_ns=self._load_ns,
            facts=self._runtime.describe(),
        )

    def first(self, command: Command) -> Reply:
        """The first call of a shape, on golden images; raises `ParityError` where its logits are not right."""
        shape = _shape_of(command)
        golden = self._golden.get(shape.resolution_px)
        pixels = self._noise(shape, 1)[0] if golden is None else repeated(golden.images, shape.batch)
        images, predict = self._input_of(pixels), self._predict(shape)
        compiled = self._runtime.compilations()
        began_ns = perf_counter_ns()
        logits = predict(images)
        took_ns = perf_counter_ns() - began_ns
        name = f"{self._settings.runtime} at {shape.resolution_px} px, batch {shape.batch}"
        require_logits(name, logits, shape.batch)
        difference = None
        if golden is not None:
            difference = require_parity(
                name, logits, repeated(golden.logits, shape.batch), tolerance_of(self._settings.runtime)
            )
        return Reply(
            took_ns=(took_ns,),
            compilations=self._runtime.compilations() - compiled,
            largest_difference=difference,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MEMORY_UNIT_BYTES,
        )

    def time(self, command: Command) -> Reply:
        """One block. Python's garbage is collected before and not during it."""
        shape = _shape_of(command)
        predict, inputs = self._predict(shape), self._inputs_of(shape)
        gc.collect()
        gc.disable()
        try:
            settling, _ = block(predict, inputs, fewest=command.settling, most=command.settling, limit_ns=0)
            compiled, threads_before = self._runtime.compilations(), thread_times_ns()
            drawn_mj = self._energy() if self._energy else 0
            cpu_ns, began_ns = process_time_ns(), perf_counter_ns()
            took, logits = block(predict, inputs, fewest=command.fewest, most=command.most, limit_ns=command.limit_ns)
            wall_ns, cpu_ns = perf_counter_ns() - began_ns, process_time_ns() - cpu_ns
            drawn_mj = self._energy() - drawn_mj if self._energy else 0
            compiled = self._runtime.compilations() - compiled  # before copies are timed, which JAX compiles for
        finally:
            gc.enable()
        busy = busy_threads(threads_before, thread_times_ns(), wall_ns)
        require_logits(self._settings.runtime, logits, shape.batch)
        to_card_ns, to_host_ns = transfer_times_ns(self._settings.device, inputs[0], logits, command.event_calls)
        return Reply(
            settling_ns=tuple(settling),
            took_ns=tuple(took),
            wall_ns=wall_ns,
            cpu_ns=cpu_ns,
            busy_threads=busy,
            compilations=compiled,
            event_ns=event_times_ns(self._settings.device, lambda: predict(inputs[0]), command.event_calls),
            to_card_ns=to_card_ns,
            to_host_ns=to_host_ns,
            energy_mj=drawn_mj if self._energy and wall_ns >= SHORTEST_NS else None,
        )

    def _load(self, side: int, format_: str | None) -> None:
        """The model and its golden batch; a runtime that loads nothing has no golden batch."""
        if format_ is None:
            self._models[side] = NullModel()
            return
        artifact = load_artifact(artifact_folder(Path(self._settings.artifacts), format_, side))
        self._golden[side] = artifact.golden()
        began_ns = perf_counter_ns()
        self._models[side] = self._runtime.load(artifact)
        self._load_ns[side] = perf_counter_ns() - began_ns

    def _predict(self, shape: Shape) -> Predict:
        """Host array in, host logits out; pixels are scaled inside the call, unless it computes nothing."""
        predict = self._models[shape.resolution_px].predict
        if self._settings.input == "float32" or shape.resolution_px not in self._golden:
            return predict
        return lambda pixels: predict(scale_pixels(pixels))

    def _inputs_of(self, shape: Shape) -> Sequence[Images]:
        if shape not in self._inputs:
            self._inputs.clear()  # a batch of 128 photographs weighs as much as the framework
            image_bytes = 3 * shape.resolution_px**2 * shape.batch * (4 if self._settings.input == "float32" else 1)
            number = max(2, min(MOST_INPUTS, INPUTS_BYTES // image_bytes))
            self._inputs[shape] = [self._input_of(pixels) for pixels in self._noise(shape, number)]
        return self._inputs[shape]

    def _noise(self, shape: Shape, number: int) -> list[ImageArray]:
        rng = np.random.default_rng(shape.resolution_px)
        sides = (shape.batch, shape.resolution_px, shape.resolution_px, 3)
        return [rng.integers(0, 256, sides, dtype=np.uint8) for _ in range(number)]

    def _input_of(self, pixels: ImageArray) -> Images:
        return scale_pixels(pixels) if self._settings.input == "float32" else pixels


_ANSWERS: Mapping[str, Callable[[Worker, Command], Reply]] = {
    "describe": Worker.describe,
    "first": Worker.first,
    "time": Worker.time,
}


def block(
    predict: Predict, inputs: Sequence[Images], *, fewest: int, most: int, limit_ns: int
) -> tuple[list[int], FloatArray]:
    """What each call took, and the logits of the last; the clock stops when they are in host memory.

    Between ``fewest`` and ``most`` calls; none begins after ``limit_ns`` once the fewest are made.
    """
    took: list[int] = []
    logits: FloatArray = np.empty((0, 0), np.float32)
    until_ns = perf_counter_ns() + limit_ns
    for number in range(most):
        images = inputs[number % len(inputs)]
        began_ns = perf_counter_ns()
        logits = predict(images)
        ended_ns = perf_counter_ns()
        took.append(ended_ns - began_ns)
        if ended_ns >= until_ns and number + 1 >= fewest:
            break
    return took, logits


def repeated(values: NDArray[Any], rows: int) -> NDArray[Any]:
    """``rows`` rows of ``values``, from the first again where there are not as many."""
    return np.ascontiguousarray(values[np.arange(rows) % len(values)])


def require_logits(name: str, logits: object, batch: int) -> None:
    """Raise `ParityError` unless ``logits`` are a finite float32 host array (batch, classes)."""
    if not isinstance(logits, np.ndarray) or logits.dtype != np.float32 or logits.shape != (batch, len(LABELS)):
        found = f"{logits.dtype} {logits.shape}" if isinstance(logits, np.ndarray) else type(logits).__name__
        raise ParityError(f"{name} answered {found}, not float32 {(batch, len(LABELS))}. Next: hemabench verify")
    if not np.isfinite(logits).all():
        raise ParityError(f"{name} answered logits that are not finite. Next: hemabench verify")


def _shape_of(command: Command) -> Shape:
    if command.shape is None:
        raise InvalidSettings(f"{command.kind} needs a shape")
    return command.shape


def main(arguments: list[str]) -> int:
    """Answer the commands of whoever wrote the settings."""
    worker = Worker(read_json(Path(arguments[0]), WorkerSettings))
    answer_commands(arguments[1], Command, worker.answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
