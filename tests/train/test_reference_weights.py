"""The committed weights on real cells that they were not trained on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.checkpoints import checkpoint_path, load_checkpoint

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "exported_models" / "checkpoints"
PBC = Path(os.environ.get("HEMABENCH_DATA_ROOT", ROOT.parent / "shared" / "data")) / "pbc"
# All 3,323 held-out cells where that takes seconds, else a part of them, evenly spread.
CELLS = {28: 4_000, 64: 1_000, 128: 300, 224: 150}


@pytest.fixture(scope="module", params=CELLS, ids=lambda side: f"{side}px")
def seen(request):
    """How many cells the weights of a resolution know, and those weights' own record."""
    if not (PBC / "index.csv").is_file():
        pytest.skip("no pbc/ under the data root; set HEMABENCH_DATA_ROOT")
    side = request.param
    command = [sys.executable, str(Path(__file__).with_name("jpeg_probe.py")), PBC, CHECKPOINTS, side, CELLS[side]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    probe = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=True)
    return json.loads(probe.stdout), load_checkpoint(checkpoint_path(CHECKPOINTS, "hemanet", side)).record


def test_the_weights_know_as_many_held_out_cells_as_their_record_says(seen):
    found, record = seen
    (recorded,) = [score for score in record.metrics if (score.name, score.split) == ("accuracy", "test")]
    if found["cells"] == recorded.images:
        assert found["right"] / found["cells"] == pytest.approx(recorded.value, abs=1e-3)
    else:  # of a part: nowhere near chance, and within what a part may differ
        assert found["right"] / found["cells"] > recorded.value - 0.02


def test_a_jpeg_round_trip_costs_at_most_one_point(seen):
    found, _ = seen
    assert found["right"] > 0.9 * found["cells"]
    assert found["right"] - found["right_through_jpeg"] <= 0.01 * found["cells"]
