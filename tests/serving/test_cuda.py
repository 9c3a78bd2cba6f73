"""A card: refused by every runtime where there is none, and used by every runtime where there is one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serving.inference.devices import NEXT_BUILD, count_cuda_cards
from serving.runtimes import RUNTIMES, tolerance_of

ROOT = Path(__file__).parents[2]
NATIVE = [name for name, entry in RUNTIMES.items() if entry.division == "closed"]
ON_A_CARD = [name for name, entry in RUNTIMES.items() if "cuda" in entry.devices]
needs_a_card = pytest.mark.skipif(count_cuda_cards() == 0, reason="the CUDA driver of this machine shows no card")
# A framework that takes a whole card takes nearly all of it; the tiny network and its libraries need a fraction.
SHARED_CARD_BYTES = 2e9

# Each in a process of its own, because a process holds one framework.
LOAD = """
import json, sys
from importlib import import_module
from pathlib import Path
import numpy as np
from contract.errors import DeviceUnavailable
from contract.manifest import artifact_folder, load_artifact
from contract.preprocessing import scale_pixels
from serving.inference.devices import Device
from serving.runtimes import RUNTIMES, pin_environment

name, artifacts, card = sys.argv[1:]
pin_environment(name, 1)
module, function = RUNTIMES[name].location.split(":")
artifact = load_artifact(artifact_folder(Path(artifacts), RUNTIMES[name].format, 28))
try:
    runtime = getattr(import_module(module), function)(Device("cuda", int(card)), 1)
    model = runtime.load(artifact)
except DeviceUnavailable as refused:
    print("RESULT" + json.dumps(str(refused)))
    raise SystemExit
golden = artifact.golden()
logits = model.predict(scale_pixels(golden.images))
print("RESULT" + json.dumps([float(np.abs(logits - golden.logits).max()), runtime.describe()]))
"""
STRAY = """
import sys
from pathlib import Path
from contract.errors import DeviceUnavailable
from contract.manifest import artifact_folder, load_artifact
from serving.inference.devices import CPU
from serving.runtimes.tensorflow import TensorFlowRuntime, require_placed

model = TensorFlowRuntime(CPU, 1).load(load_artifact(artifact_folder(Path(sys.argv[1]), "saved_model", 28)))
try:
    require_placed(model.function.variables, "/GPU:0")
except DeviceUnavailable as refused:
    print("RESULT" + str(refused))
"""

OLD_DRIVER = """
import torch
from contract.errors import DeviceUnavailable
from serving.inference.devices import Device
from serving.runtimes.pytorch import PyTorchRuntime

torch.cuda.is_available, torch.cuda.device_count = (lambda: False), (lambda: 1)
try:
    PyTorchRuntime(Device("cuda", 0), 1)
except DeviceUnavailable as refused:
    print("RESULT" + str(refused))
"""
OPTIONS = """
import jax
from serving.runtimes.jax import ON_A_CARD

jax.config.update("jax_platforms", "cpu")
print("RESULT" + str(jax.jit(lambda number: number + 1, compiler_options=ON_A_CARD)(1)))
"""

REPLAY = """
import json, sys
from pathlib import Path
import numpy as np
from contract.manifest import artifact_folder, load_artifact
from serving.inference.devices import Device
from serving.runtimes import create_runtime

artifact = load_artifact(artifact_folder(Path(sys.argv[1]), "torch_export", 28))
runtime = create_runtime("pytorch-graphs", Device("cuda", 0))
model = runtime.load(artifact)
rng = np.random.default_rng(3)
images = [rng.uniform(-1, 1, (batch, 28, 28, 3)).astype(np.float32) for batch in (1, 5, 1, 5)]
answers = [model.predict(batch) for batch in images]
again = [model.predict(batch) for batch in images]
equal = all(np.allclose(one, other, atol=1e-5) for one, other in zip(answers, again))
equal = equal and not np.allclose(answers[0], answers[2], atol=1e-5)
print("RESULT" + json.dumps([bool(equal), runtime.compilations()]))
"""


def result_of(script, *arguments):
    ran = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split("RESULT")[1]


def require_installed(name):
    entry = RUNTIMES[name]
    pytest.importorskip(entry.module, reason=f"the extra {entry.extra!r} is not installed")
    return entry


@pytest.mark.parametrize("name", NATIVE)
def test_a_card_that_is_not_there_is_refused_in_one_line_before_anything_is_loaded(name):
    require_installed(name)
    command = [sys.executable, "-m", "cli", "serve", "--runtime", name, "--device", "cuda:99"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    (line,) = refused.stderr.strip().splitlines()
    assert "device cuda:99 was asked for" in line
    assert "--device cpu" in line


@pytest.mark.parametrize("name", NATIVE)
def test_no_framework_takes_the_processor_in_place_of_a_card(name, artifacts_of):
    # Past the driver, which is asked first: a build without CUDA meets a machine that has a card.
    entry = require_installed(name)
    refusal = json.loads(result_of(LOAD, name, str(artifacts_of(entry.format)), "99"))
    assert refusal.startswith("cuda:99 was asked for")
    assert refusal.endswith(NEXT_BUILD)
    assert len(refusal.splitlines()) == 1


def test_a_card_whose_driver_is_too_old_for_pytorch_is_refused():
    require_installed("pytorch")
    assert "can use 0 card(s)" in result_of(OLD_DRIVER)


def test_weights_that_tensorflow_put_elsewhere_are_noticed(artifacts_of):
    require_installed("tensorflow")
    refusal = result_of(STRAY, str(artifacts_of("saved_model")))
    assert "put weights on /job:localhost/replica:0/task:0/device:CPU:0" in refusal


def test_xla_knows_the_options_that_keep_products_on_a_card_in_float32():
    require_installed("jax")
    assert result_of(OPTIONS).strip() == "2"  # it refuses a program with an option that it does not know


@needs_a_card
@pytest.mark.parametrize("name", ON_A_CARD)
def test_on_a_card_a_runtime_gives_the_reference_logits_says_where_and_leaves_room(name, artifacts_of):
    entry = require_installed(name)
    answer = json.loads(result_of(LOAD, name, str(artifacts_of(entry.format)), "0"))
    assert isinstance(answer, list), answer  # else a refusal in words
    largest, facts = answer
    assert largest < max(1e-3, tolerance_of(name).absolute)
    assert facts["device_name"]
    assert any(word in facts["device"].lower() for word in ("cuda", "gpu"))
    assert name != "onnx" or facts["providers"].startswith("CUDAExecutionProvider")
    assert float(facts.get("device_memory_bytes", 0)) < SHARED_CARD_BYTES


@needs_a_card
def test_a_recorded_graph_answers_new_images_at_every_batch_size_and_keeps_earlier_answers(artifacts_of):
    require_installed("pytorch-graphs")
    equal, recorded = json.loads(result_of(REPLAY, str(artifacts_of("torch_export"))))
    assert equal
    assert recorded == 2
