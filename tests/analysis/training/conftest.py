"""A campaign of recorded runs, made without training: logits are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contract.environment import Environment
from contract.records.training import EpochRecord, Predictions, TrainingRun, run_name, save_training_run
from contract.timing import NS_PER_S

ENVIRONMENT = Environment(
    cpu_model="a processor",
    cores=2,
    memory_bytes=2**30,
    accelerator=None,
    governor=None,
    system="Linux",
    python="3.11",
    libraries={"numpy": "2"},
)
IMAGES = 160


def predictions(seed: int, first_position: int = 0) -> Predictions:
    """Logits that are right about three times of four; labels and positions are the same for every seed."""
    labels = np.tile(np.arange(8, dtype=np.uint8), IMAGES // 8)
    logits = np.random.default_rng(seed).normal(size=(IMAGES, 8)).astype(np.float32)
    logits[np.arange(IMAGES), labels] += 2.5
    return Predictions(np.arange(first_position, first_position + IMAGES), labels, logits)


def recorded(framework: str = "pytorch", seed: int = 0, **changes: object) -> TrainingRun:
    """Three epochs of ten batches: two seconds of steps each, and one more for the first step."""
    epochs = tuple(
        EpochRecord(
            epoch=number,
            mean_loss=2.0 - number / 2,
            validation_accuracy=0.9 + 0.04 * number,
            images=1_000,
            step_ns=(2 + (number == 0)) * NS_PER_S,
            loop_ns=(4 + (number == 0)) * NS_PER_S,
        )
        for number in range(3)
    )
    facts: dict[str, object] = {
        "model": "hemanet",
        "framework": framework,
        "resolution_px": 28,
        "seed": seed,
        "batch_images": 100,
        "settings": {},
        "started_from": "random weights",
        "data_source": "test",
        "data_description": "drawn logits",
        "data_digest": "0" * 64,
        "data_is_real": True,
        "environment": ENVIRONMENT,
        "command": "hemabench train",
        "created": "2026-11-21T00:00:00Z",
        "weights_digest": "0" * 64,
        "startup_ns": NS_PER_S,
        "first_step_ns": NS_PER_S,
        "peak_memory_bytes": 2**30,
        "epochs": epochs,
        "reproducible": "bit for bit",
    }
    return TrainingRun(**(facts | changes))  # type: ignore[arg-type]


@pytest.fixture
def save_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run into the campaign folder ``<tmp>/campaign`` and returns that folder."""

    def save(framework: str = "pytorch", seed: int = 0, *, test: Predictions | None = None, **changes: object) -> Path:
        campaign, run = tmp_path / "campaign", recorded(framework, seed, **changes)
        draw = seed * 10 + len(framework)
        found = {"validation": predictions(draw + 1), "test": test or predictions(draw, first_position=IMAGES)}
        save_training_run(campaign / run_name("hemanet", run.resolution_px, framework, seed), run, found)
        return campaign

    return save
