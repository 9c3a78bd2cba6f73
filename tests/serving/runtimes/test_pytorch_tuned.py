"""What Inductor is told, seen in what it made: frozen weights are the ones that it packs for oneDNN."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SMALL_PX, LARGE_PX = 28, 64
pytestmark = pytest.mark.timeout(1_800)  # two or three programs for a compiler on a busy machine

# In a process of its own, because a process holds one framework. Both sizes are loaded before either is met.
START = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from serving.runtimes import create_runtime

name, folder, *sides = sys.argv[1:]
runtime = create_runtime(name)
import torch
from torch._dynamo.utils import counters

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)

    def forward(self, images):
        return torch.relu(self.norm(self.convolution(images.permute(0, 3, 1, 2)))).mean((2, 3))

def packed():
    return counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"]

def artifact(side):
    path = Path(folder) / f"{side}.pt2"
    sizes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (torch.zeros(2, side, side, 3),), dynamic_shapes=sizes), path)
    return SimpleNamespace(model_path=path, manifest=SimpleNamespace(resolution_px=side))

torch.manual_seed(0)
network = Network().to(memory_format=torch.channels_last).eval()
found, models = {}, {}
for side in map(int, sides):
    before = packed()
    models[side] = runtime.load(artifact(side))
    found[side] = packed() - before
for side, model in reversed(models.items()):
    before = packed()
    for batch in (1, 2, 3, 1):
        images = np.random.default_rng(batch).normal(size=(batch, side, side, 3)).astype(np.float32)
        expected = network(torch.from_numpy(images)).detach().numpy()
        np.testing.assert_allclose(model.predict(images), expected, atol=2e-2 if name.endswith("bf16") else 1e-5)
    found[side] += packed() - before
assert not torch._inductor.config.freezing, "left behind for whatever is compiled next"
can_pack = torch.ops.mkldnn._is_mkldnn_bf16_supported() if name.endswith("bf16") else True
print("RESULT" + json.dumps([can_pack, *(found[int(side)] for side in sides)]))
"""


@pytest.mark.parametrize("name", ["pytorch-aot", "pytorch-compile"])
def test_in_float32_weights_are_frozen_for_large_images_and_for_them_alone(name, tmp_path):
    _, small, large = packed_convolutions(name, tmp_path, SMALL_PX, LARGE_PX)
    assert small == 0
    assert large == 2  # one program for one image and one for several


def test_in_bfloat16_weights_are_frozen_for_images_of_any_size(tmp_path):
    can_pack, small = packed_convolutions("pytorch-compile-bf16", tmp_path, SMALL_PX)
    assert small > 0 or not can_pack


def packed_convolutions(name: str, folder: Path, *sides: int) -> list[int]:
    """Whether the processor can pack the runtime's convolutions, and how many were packed for images of each side."""
    pytest.importorskip("torch")
    command = [sys.executable, "-c", START, name, str(folder), *map(str, sides)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return list(json.loads(ran.stdout.split("RESULT")[1]))
