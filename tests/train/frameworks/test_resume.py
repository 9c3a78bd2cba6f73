from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.frameworks import FRAMEWORKS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights_bit_for_bit(framework, tmp_path):
    command = [sys.executable, Path(__file__).with_name("resume_probe.py"), framework, tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    straight, resumed, other_seed = ran.stdout.split("\n")[-4:-1]
    assert straight == resumed
    assert straight.endswith(" 3")
    assert straight != other_seed
