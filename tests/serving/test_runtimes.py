"""Every runtime of the table: the same logits, at any batch size, from the same door."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from contract.errors import DeviceUnavailable
from contract.manifest import QUANTISED_FROM, artifact_folder, load_artifact
from serving.inference.classifier import load_model
from serving.inference.devices import CPU, Device
from serving.runtimes import RUNTIMES, create_runtime, formats_of, pinned_environment, tolerance_of
from serving.runtimes.null import NullModel

ON_THE_PROCESSOR = [name for name, entry in RUNTIMES.items() if entry.format is not None and "cpu" in entry.devices]
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
largest, compilations = {}, []
for batch in (1, 2, 7, 1, 2, 7):
    logits = np.concatenate([model.predict(inputs[at : at + batch]) for at in range(0, len(inputs), batch)])
    assert type(logits) is np.ndarray and logits.dtype == np.float32 and logits.flags.c_contiguous
    largest[batch] = float(np.abs(logits - golden.logits).max())
    compilations.append(runtime.compilations())
assert runtime.name == name
frameworks = ("torch", "tensorflow", "jax", "onnxruntime", "openvino", "ai_edge_litert", "flax")
loaded = sorted(name for name in frameworks if sys.modules.get(name))
print("RESULT" + json.dumps([largest, runtime.describe(), loaded, compilations]))
"""


@pytest.mark.parametrize("name", ON_THE_PROCESSOR)
def test_a_runtime_gives_the_reference_logits_at_every_batch_size(name, artifacts_of):
    entry = RUNTIMES[name]
    pytest.importorskip(entry.module, reason=f"the extra {entry.extra!r} is not installed")
    command = [sys.executable, "-c", PREDICT, name, str(artifacts_of(entry.format))]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    largest, facts, frameworks, compilations = json.loads(ran.stdout.split("RESULT")[1])
    tolerance = tolerance_of(name)
    # In int8 the tolerance is of classes; this network's logits are below 5, and random images keep them closer.
    assert max(largest.values()) < (0.2 if tolerance.classes_only else tolerance.absolute)
    assert len(set(compilations[2:])) == 1, f"a size that was met before was compiled again: {compilations}"
    assert entry.module in facts["library"]
    assert "cpu" in facts["device"].lower()
    assert facts["threads"].startswith("2")
    assert frameworks == [entry.module]


def test_the_closed_division_is_each_frameworks_own_artifact_and_the_open_one_loads_no_other():
    closed = {name: entry for name, entry in RUNTIMES.items() if entry.division == "closed"}
    assert list(closed) == ["pytorch", "tensorflow", "jax", "onnx"]
    assert {entry.precision for entry in closed.values()} == {"float32"}
    opened = {entry.format for entry in RUNTIMES.values() if entry.division == "open"}
    assert {QUANTISED_FROM.get(str(format_), format_) for format_ in opened} <= set(formats_of(closed).values())
    assert all((entry.format in QUANTISED_FROM) == (entry.precision == "int8") for entry in RUNTIMES.values())


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_refuses_a_device_that_it_is_not_made_for_before_its_framework_is_imported(name):
    pytest.importorskip(RUNTIMES[name].module, reason=f"the extra {RUNTIMES[name].extra!r} is not installed")
    for device in (CPU, Device("cuda", 0)):
        if device.kind not in RUNTIMES[name].devices:
            with pytest.raises(DeviceUnavailable, match=f"{name} is made for .* --device"):
                create_runtime(name, device)


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


def test_onnx_runtime_never_makes_a_call_again_on_the_processor(onnx_artifacts, monkeypatch):
    state = pytest.importorskip("onnxruntime.capi._pybind_state")
    model = create_runtime("onnx", CPU, 1).load(load_artifact(artifact_folder(onnx_artifacts, "onnx", 28)))
    session = model._run.__self__
    failing = Mock(wraps=session._sess, **{"run.side_effect": state.EPFail("CUDA failure 2: out of memory")})
    monkeypatch.setattr(session, "_sess", failing)  # where the failure of a card comes from
    with pytest.raises(state.EPFail, match="out of memory"):
        model.predict(np.zeros((1, 28, 28, 3), np.float32))


def test_every_pool_gets_the_same_threads():
    pinned = pinned_environment(3)
    assert {pinned[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "TF_NUM_INTRAOP_THREADS")} == {"3"}
