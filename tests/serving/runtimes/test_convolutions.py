"""Convolutions written anew: the same sums as the definition, in each framework that they are written for."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from serving.runtimes.convolutions import FEW_CHANNELS, MANY_CHANNELS, is_rewritable, rewritten

ROOT = Path(__file__).parents[3]


class ArraysOfNumpy:
    """NumPy under the names that `rewritten` uses."""

    pad, reshape, stack, matmul = np.pad, np.reshape, np.stack, np.matmul


def by_definition(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    _, height, width, _ = images.shape
    padded = np.pad(images.astype(np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
    patches = (padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in product(range(3), repeat=2))
    return np.sum(list(patches), axis=0)


def example(channels: int, filters: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([channels, filters, height, width])
    images = rng.normal(size=(2, height, width, channels)).astype(np.float32)
    return images, rng.normal(size=(3, 3, channels, filters)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3, FEW_CHANNELS, MANY_CHANNELS, 72])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (5, 8), (2, 3), (1, 1)])
def test_a_rewritten_convolution_is_the_same_sum(channels, height, width):
    images, kernel = example(channels, 6, height, width)
    found = rewritten(images, kernel, ArraysOfNumpy)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_definition(images, kernel), atol=2e-4)


@pytest.mark.parametrize("channels", [FEW_CHANNELS + 1, MANY_CHANNELS - 1])
def test_what_the_framework_does_well_is_left_to_it(channels):
    assert rewritten(*example(channels, 6, 8, 8), ArraysOfNumpy) is None


def test_only_a_padded_three_by_three_at_stride_one_can_be_rewritten():
    three, one = np.zeros((3, 3, 4, 4)), np.zeros((1, 1, 4, 4))
    ones = [[1, 1], [1, 1]]
    assert is_rewritable(three, (1, 1), ones)
    assert is_rewritable(three, [1, 1], [(1, 1), (1, 1)])
    assert not is_rewritable(one, (1, 1), ones)
    assert not is_rewritable(three, (2, 2), ones)
    assert not is_rewritable(three, (1, 1), [[0, 0], [0, 0]])
    assert not is_rewritable(three, (1, 1), [[0, 1], [1, 1]])


# A network with one convolution of every kind, exported as its framework does, and loaded by the runtime: in a process
# of its own, because a process holds one framework.
START = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from contract.errors import ManifestInvalid
from serving.runtimes import create_runtime

rng = np.random.default_rng(0)
images = rng.normal(size=(2, 7, 7, 3)).astype(np.float32)
widths = [3, 16, 64, 64, 64]  # an image's channels; left as it is; strided; many, what came before added; many
kernels = [rng.normal(size=(3, 3, a, b)).astype(np.float32) / 9 for a, b in zip(widths, [16, 64, 64, 64, 8])]
strides = [1, 1, 2, 1, 1]
path = Path(sys.argv[1])  # ends in .pt2, as PyTorch wants it
artifact = SimpleNamespace(
    name="net", model_path=path,
    manifest=SimpleNamespace(resolution_px=7, input_name="images", output_name="logits"),
)
"""

JAX = """
runtime = create_runtime("jax-winograd")
import jax, jax.export, jax.numpy as jnp
from jax import lax

def network(x):
    for kernel, stride in zip(kernels, strides):
        layout = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=layout)
        x = jnp.maximum(y + x if y.shape == x.shape else y, 0)
    return x.mean((1, 2))

(batch,) = jax.export.symbolic_shape("batch")
def save(function):
    shape = jax.ShapeDtypeStruct((batch, 7, 7, 3), jnp.float32)
    path.write_bytes(jax.export.export(jax.jit(function), platforms=["cpu", "cuda"])(shape).serialize())

save(network)
expected = np.asarray(network(images))
"""

TENSORFLOW = """
runtime = create_runtime("tensorflow-winograd")  # first: threads are settled before anything is computed
from serving.runtimes.tensorflow import SIGNATURE
import tensorflow as tf

class Network(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 7, 7, 3], tf.float32, name="images")])
    def serve(self, images):
        x = images
        for kernel, stride in zip(kernels, strides):
            padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
            y = tf.nn.conv2d(x, kernel, 1, "SAME") if stride == 1 else tf.nn.conv2d(padded, kernel, stride, "VALID")
            x = tf.nn.relu(y + x if y.shape[1:] == x.shape[1:] else y)
        return {"logits": tf.reduce_mean(x, (1, 2))}

network = Network()
tf.saved_model.save(network, str(path), signatures={SIGNATURE: network.serve})
expected = network.serve(tf.constant(images))["logits"].numpy()
"""

PYTORCH = """
runtime = create_runtime("pytorch-winograd")
import torch

class Network(torch.nn.Module):
    def forward(self, images):
        x = images.permute(0, 3, 1, 2)
        for weight, stride in zip(self.weights, strides):
            y = torch.nn.functional.conv2d(x, weight, None, stride, 1)
            x = torch.relu(y + x if y.shape == x.shape else y)
        return x.mean((2, 3))

network = Network().eval()
as_pytorch = [torch.from_numpy(kernel.transpose(3, 2, 0, 1)) for kernel in kernels]
network.weights = torch.nn.ParameterList(kernel.contiguous(memory_format=torch.channels_last) for kernel in as_pytorch)
sizes = ({0: torch.export.Dim("batch")},)
torch.export.save(torch.export.export(network, (torch.zeros(2, 7, 7, 3),), dynamic_shapes=sizes), path)
expected = network(torch.from_numpy(images)).detach().numpy()

from serving.runtimes.pytorch_winograd import rewrite
assert rewrite(torch.export.load(path).module(check_guards=False)) == 2
"""

COMPARE = """
model = runtime.load(artifact)
for batch in (1, 2):
    np.testing.assert_allclose(model.predict(images[:batch]), expected[:batch], atol=1e-4)
assert np.abs(expected).max() > 0.1
"""

# The three that are left as they are, in the library for several images and not in the one for one: these are small.
PACKED = """
from torch._dynamo.utils import counters
packed = counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"]
assert packed == 3, packed
"""

REFUSE = """
for refused in (lambda x: jnp.cos(x).mean((1, 2)), lambda x: lax.cummax(x, 1).mean((1, 2))):
    save(refused)
    try:
        runtime.load(artifact)
    except ManifestInvalid as error:
        assert "jax-winograd cannot rewrite" in str(error) and str(error).endswith("Next: --runtime jax"), error
    else:
        raise AssertionError("loaded")
"""


@pytest.mark.timeout(1_800)  # PyTorch's is two libraries for a C++ compiler, on a busy machine
@pytest.mark.parametrize(("module", "export"), [("jax", JAX), ("tensorflow", TENSORFLOW), ("torch", PYTORCH)])
def test_a_network_with_rewritten_convolutions_gives_the_logits_of_the_one_that_was_exported(module, export, tmp_path):
    pytest.importorskip(module)
    run(START + export + COMPARE + (PACKED if module == "torch" else ""), tmp_path)


def test_a_program_that_cannot_be_rewritten_is_refused_when_it_is_loaded(tmp_path):
    pytest.importorskip("jax")
    run(START + JAX + REFUSE, tmp_path)


def run(code: str, folder: Path) -> None:
    command = [sys.executable, "-c", code, str(folder / "model.pt2")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
