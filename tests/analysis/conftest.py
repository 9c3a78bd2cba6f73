"""Run folders as the load test writes them, made with the contract's own writers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.environment import Environment
from contract.records.journal import JournalWriter
from contract.records.load import (
    CELL_FILE,
    REQUESTS_FILE,
    RUN_FILE,
    ArtifactFacts,
    Cell,
    CellOutcome,
    OfflinePredictions,
    RequestRecord,
    RunPlan,
    Scenario,
)
from contract.storage import write_json
from contract.timing import NS_PER_MS

RUNTIMES = ("pytorch", "tensorflow", "jax", "onnx")
INFER_MS = {"pytorch": 0.9, "tensorflow": 1.3, "jax": 0.8, "onnx": 0.35}
FORMATS = {"pytorch": "torch_export", "tensorflow": "saved_model", "jax": "stablehlo", "onnx": "onnx"}
IMAGES = 400
DIGEST = "a" * 64

Edit = Callable[[Cell, list[RequestRecord], CellOutcome], tuple[list[RequestRecord], CellOutcome | None]]


def true_class(image: int) -> int:
    return image * 7 % 8


def predicted_class(image: int) -> int:
    """Right but for every fiftieth image."""
    return (true_class(image) + (image % 50 == 0)) % 8


class RunBuilder:
    """Writes run folders; every part can be made alone and changed before it is written."""

    def environment(self, **changes: Any) -> Environment:
        facts: dict[str, Any] = {
            "cpu_model": "Example CPU @ 2.60GHz",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "accelerator": None,
            "governor": "performance",
            "system": "Linux 6.1 x86_64",
            "python": "3.11.7",
            "libraries": {"torch": "2.13.0", "numpy": "2.4.6"},
        }
        return Environment(**facts | changes)

    def scenario(self, kind: str = "closed_loop", **changes: Any) -> Scenario:
        settings: dict[str, Any] = {"kind": kind, "warmup_s": 1.0, "duration_s": 10.0, "seed": 7}
        if kind == "open_loop":
            settings["arrival_rate_per_s"] = 120.0
        return Scenario(**settings | changes)

    def cell(self, **changes: Any) -> Cell:
        settings: dict[str, Any] = {"runtime": "pytorch", "resolution_px": 28, "scenario": "closed_loop"}
        return Cell(**settings | changes)

    def records(
        self, cell: Cell, *, requests: int = 900, warmup: int = 30, seed: int = 0, slower: float = 1.0
    ) -> list[RequestRecord]:
        """Plausible requests: log-normal parts, a true class per image, parts that add up to the total."""
        rng = np.random.default_rng([seed, cell.resolution_px, cell.repetition, *cell.name.encode()])
        infer_ms = INFER_MS.get(cell.runtime, 1.0) * (cell.resolution_px / 28) ** 1.6 * slower
        records, now = [], 5_000_000_000
        for request in range(warmup + requests):
            parts = _parts(rng, infer_ms, cell.resolution_px)
            delay = int(rng.exponential(0.03) * NS_PER_MS) if cell.scenario == "open_loop" else 0
            sent = now + delay
            finished = sent + parts["total"] + int(rng.lognormal(np.log(0.45), 0.2) * NS_PER_MS)
            image = (request * 13 + cell.repetition) % IMAGES
            records.append(
                RequestRecord(
                    request=request,
                    phase="warmup" if request < warmup else "measured",
                    image=image,
                    expected=true_class(image),
                    scheduled_ns=now,
                    sent_ns=sent,
                    finished_ns=finished,
                    status=200,
                    answered=predicted_class(image),
                    failure=None,
                    parts_ns=parts,
                )
            )
            now = finished if cell.scenario == "closed_loop" else now + int(rng.exponential(8.3) * NS_PER_MS)
        return records

    def failed(self, record: RequestRecord, failure: str = "HTTP 503", status: int = 503) -> RequestRecord:
        return replace(record, status=status, answered=None, failure=failure, parts_ns={})

    def outcome(self, cell: Cell, records: Sequence[RequestRecord], **changes: Any) -> CellOutcome:
        """What the load test counts for ``records``."""
        ok = sum(record.ok for record in records)
        facts: dict[str, Any] = {
            "cell": cell,
            "scenario": self.scenario("open_loop" if cell.scenario == "open_loop" else "closed_loop"),
            "started": len(records),
            "ok": ok,
            "failed": len(records) - ok,
            "aborted": 0,
            "dropped": 0,
            "answered_by_service": ok,
            "start_up_s": 2.4,
            "generator_cpu_share": 0.31,
            "service_cores": (0,),
            "generator_cores": (1,),
            "load_average": 0.4,
            "service_facts": {"runtime": cell.runtime},
        }
        return CellOutcome(**facts | changes)

    def artifact(self, runtime: str, resolution_px: int, **changes: Any) -> ArtifactFacts:
        facts: dict[str, Any] = {
            "runtime": runtime,
            "resolution_px": resolution_px,
            "model": "hemanet",
            "format": FORMATS.get(runtime, "onnx"),
            "digest": DIGEST,
            "weights_digest": "b" * 64,
            "parity_largest_difference": 2.4e-6,
            "parity_images": 16,
        }
        return ArtifactFacts(**facts | changes)

    def plan(self, cells: Sequence[Cell], **changes: Any) -> RunPlan:
        contenders = dict.fromkeys((cell.runtime, cell.resolution_px) for cell in cells)
        facts: dict[str, Any] = {
            "run": "example",
            "created": "2025-01-31T12:00:00Z",
            "profile": "quick",
            "command": "hemabench run --profile quick --seed 7",
            "environment": self.environment(),
            "data_source": "pbc",
            "data_description": "PBC, BloodMNIST recipe, own 7:1:2 split",
            "data_is_real": True,
            "artifacts": tuple(self.artifact(*contender) for contender in contenders),
            "cells": tuple(cells),
            "seed": 7,
        }
        return RunPlan(**facts | changes)

    def predictions(self, runtime: str, resolution_px: int, **changes: Any) -> OfflinePredictions:
        facts: dict[str, Any] = {
            "runtime": runtime,
            "resolution_px": resolution_px,
            "artifact_digest": DIGEST,
            "data_source": "pbc",
            "images": tuple(range(IMAGES)),
            "classes": tuple(map(predicted_class, range(IMAGES))),
        }
        return OfflinePredictions(**facts | changes)

    def write_cell(
        self, folder: Path, cell: Cell, records: Sequence[RequestRecord], outcome: CellOutcome | None
    ) -> Path:
        place = folder / "cells" / cell.name
        with JournalWriter(place / REQUESTS_FILE) as journal:
            for record in records:
                journal.append(record)
        if outcome is not None:
            write_json(place / CELL_FILE, outcome)
        return place

    def write_predictions(self, folder: Path, predictions: OfflinePredictions) -> None:
        write_json(folder / "offline" / f"{predictions.runtime}-{predictions.resolution_px}px.json", predictions)

    def write(
        self,
        folder: Path,
        *,
        runtimes: Sequence[str] = ("pytorch", "onnx"),
        resolutions_px: Sequence[int] = (28,),
        scenarios: Sequence[str] = ("closed_loop",),
        repetitions: int = 1,
        requests: int = 900,
        edit: Edit | None = None,
        **plan: Any,
    ) -> Path:
        """A whole run. ``edit`` may change a cell's records and outcome; an outcome of None is not written."""
        cells = [
            Cell(runtime=runtime, resolution_px=side, scenario=scenario, repetition=repetition)
            for repetition in range(1, repetitions + 1)
            for side in resolutions_px
            for runtime in runtimes
            for scenario in scenarios
        ]
        write_json(folder / RUN_FILE, self.plan(cells, **plan))
        for runtime in runtimes:
            for side in resolutions_px:
                self.write_predictions(folder, self.predictions(runtime, side))
        for cell in cells:
            records = self.records(cell, requests=requests)
            outcome: CellOutcome | None = self.outcome(cell, records)
            if edit is not None and outcome is not None:
                records, outcome = edit(cell, records, outcome)
            self.write_cell(folder, cell, records, outcome)
        return folder


def _parts(rng: np.random.Generator, infer_ms: float, resolution_px: int) -> dict[str, int]:
    area = (resolution_px / 28) ** 2
    medians_ms = {
        "read": 0.02,
        "decode": 0.05 + 0.01 * area,
        "preprocess": 0.03 + 0.004 * area,
        "queue": 0.01,
        "infer": infer_ms,
        "encode": 0.03,
    }
    drawn = rng.lognormal(0.0, 0.12, size=len(medians_ms))
    parts = {
        part: int(median_ms * factor * NS_PER_MS)
        for (part, median_ms), factor in zip(medians_ms.items(), drawn, strict=True)
    }
    return {**parts, "total": sum(parts.values())}


@pytest.fixture(scope="session")
def build() -> RunBuilder:
    return RunBuilder()
