from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.export import ON_THE_PROCESSOR
from train.frameworks import FRAMEWORKS

ROOT = Path(__file__).parents[3]
# A device without memory stands for a card.
MOVED = """
import numpy as np
from contract.architecture import HEMANET
from train.batches import Batch, smoothed_targets
from train.frameworks import load_framework
from train.initial_weights import initial_weights
from train.settings import TrainSettings

weights, settings = initial_weights(HEMANET, 0), TrainSettings()
here, there = (load_framework("pytorch").Trainer(HEMANET, weights, settings) for _ in range(2))
here.step(Batch(np.zeros((2, 28, 28, 3), np.float32), smoothed_targets(np.zeros(2, np.uint8), 8, 0.05)), 1e-3)
there._network.to("meta")
there.restore_optimizer(here.optimizer_state())
print({part: value.device.type for parts in there._optimizer.state.values() for part, value in parts.items()})
"""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights_bit_for_bit(framework, tmp_path):
    command = [sys.executable, Path(__file__).with_name("resume_probe.py"), framework, tmp_path]
    environment = {**os.environ, **ON_THE_PROCESSOR, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    straight, resumed, other_seed = ran.stdout.split("\n")[-4:-1]
    assert straight == resumed
    assert straight.endswith(" 3")
    assert straight != other_seed


def test_all_that_pytorchs_optimiser_remembers_is_restored_to_where_the_weights_are():
    pytest.importorskip("torch")
    environment = {**os.environ, **ON_THE_PROCESSOR, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", MOVED], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.strip() == "{'step': 'meta', 'exp_avg': 'meta', 'exp_avg_sq': 'meta'}"
