"""Every runtime of the table: the same logits, at any batch size, from the same door."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contract.manifest import artifact_folder, load_artifact
from serving.classifier import load_model
from serving.devices import CPU
from serving.runtimes import RUNTIMES, create_runtime, pinned_environment
from serving.runtimes.null import NullModel

ROOT = Path(__file__).parents[2]

# In a process of its own, because a process holds one framework.
PREDICT = """
import json, sys
from pathlib import Path
import numpy as np
from contract.manifest import artifact_folder, load_artifact
from contract.preprocessing import scale_pixels
from serving.runtimes import RUNTIMES, create_runtime

name, artifacts = sys.argv[1:]
runtime = create_runtime(name, threads=2)
artifact = load_artifact(artifact_folder(Path(artifacts), RUNTIMES[name].format, 28))
model, golden = runtime.load(artifact), artifact.golden()
inputs = scale_pixels(golden.images)
largest = {}
for batch in (1, 2, 7):
    logits = np.concatenate([model.predict(inputs[at : at + batch]) for at in range(0, len(inputs), batch)])
    assert type(logits) is np.ndarray and logits.dtype == np.float32 and logits.flags.c_contiguous
    largest[batch] = float(np.abs(logits - golden.logits).max())
frameworks = {name for name in ("torch", "tensorflow", "jax", "onnxruntime", "flax") if sys.modules.get(name)}
print("RESULT" + json.dumps([largest, runtime.describe(), sorted(frameworks)]))
"""


@pytest.mark.parametrize("name", [name for name, entry in RUNTIMES.items() if entry.format is not None])
def test_a_runtime_gives_the_reference_logits_at_every_batch_size(name, artifacts_of):
    entry = RUNTIMES[name]
    pytest.importorskip(entry.module, reason=f"the extra {entry.extra!r} is not installed")
    command = [sys.executable, "-c", PREDICT, name, str(artifacts_of(entry.format))]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    largest, facts, frameworks = json.loads(ran.stdout.split("RESULT")[1])
    assert max(largest.values()) < 1e-4
    assert entry.module in facts["library"]
    assert "cpu" in facts["device"].lower()
    assert facts["threads"].startswith("2")
    assert frameworks == [entry.module]


def test_the_null_runtime_loads_nothing_and_answers_for_every_image(tmp_path):
    served = load_model(create_runtime("null"), tmp_path, 128)
    assert served.resolution_px == 128
    assert isinstance(served.model, NullModel)
    assert served.parity is None


def test_onnx_runtime_says_which_provider_it_took(onnx_artifacts):
    pytest.importorskip("onnxruntime")
    runtime = create_runtime("onnx", CPU, 1)
    runtime.load(load_artifact(artifact_folder(onnx_artifacts, "onnx", 28)))
    assert runtime.describe()["providers"] == "CPUExecutionProvider"


def test_every_pool_gets_the_same_threads():
    pinned = pinned_environment(3)
    assert {pinned[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "TF_NUM_INTRAOP_THREADS")} == {"3"}
