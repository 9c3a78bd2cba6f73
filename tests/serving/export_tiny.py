"""Makes real artifacts of a network small enough to export in a moment, in a process of its own.

python export_tiny.py <format> <artifacts folder> <resolution> [<resolution> ...]

The network: relu(x @ mix), averaged over height and width, then dense. Its golden logits
are computed here in float64, by nothing but NumPy.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from contract.blood_cells import LABELS  # noqa: E402 (a script: the path comes first)
from contract.manifest import FORMATS, GOLDEN_FILE, Manifest, artifact_folder, digests_of_files, save_manifest  # noqa: E402
from contract.parity import GoldenBatch, Parity, Tolerance  # noqa: E402
from contract.preprocessing import scale_pixels  # noqa: E402

RNG = np.random.default_rng(7)
MIX = RNG.normal(size=(3, 16)).astype(np.float32)
HEAD = (3 * RNG.normal(size=(16, len(LABELS)))).astype(np.float32)


def logits_of(images: np.ndarray) -> np.ndarray:
    features = np.maximum(images.astype(np.float64) @ MIX.astype(np.float64), 0).mean(axis=(1, 2))
    return (features @ HEAD.astype(np.float64)).astype(np.float32)


def export_onnx(path: Path, side: int) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["images", "mix"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["positive"]),
        helper.make_node("ReduceMean", ["positive", "axes"], ["features"], keepdims=0),
        helper.make_node("MatMul", ["features", "head"], ["logits"]),
    ]
    constants = {"mix": MIX, "head": HEAD, "axes": np.array([1, 2])}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", side, side, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def export_onnx_int8(path: Path, side: int) -> None:
    from train.quantisation.network import quantise

    original = path.with_name("original.onnx")
    export_onnx(original, side)
    images = np.random.default_rng(1).integers(0, 256, (32, side, side, 3), dtype=np.uint8)
    quantise(original, path, [scale_pixels(images)])
    original.unlink()


def export_torch_export(path: Path, side: int) -> None:
    import torch

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mix", torch.from_numpy(MIX))
            self.register_buffer("head", torch.from_numpy(HEAD))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(images @ self.mix).mean((1, 2)) @ self.head

    batch = torch.export.Dim("batch", min=1, max=256)
    program = torch.export.export(Tiny(), (torch.zeros(2, side, side, 3),), dynamic_shapes=({0: batch},))
    torch.export.save(program, str(path))


def export_saved_model(path: Path, side: int) -> None:
    import tensorflow as tf

    class Tiny(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.head = tf.Variable(MIX), tf.Variable(HEAD)

        @tf.function(input_signature=[tf.TensorSpec([None, side, side, 3], tf.float32, name="images")])
        def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            features = tf.reduce_mean(tf.nn.relu(images @ self.mix), axis=(1, 2))
            return {"logits": features @ self.head}

    tiny = Tiny()
    tf.saved_model.save(tiny, str(path), signatures={"serving_default": tiny.serve})


def export_stablehlo(path: Path, side: int) -> None:
    import jax
    import jax.export
    import jax.numpy as jnp

    def forward(images: jax.Array) -> jax.Array:
        return jnp.maximum(images @ MIX, 0).mean((1, 2)) @ HEAD

    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, side, side, 3), jnp.float32)
    path.write_bytes(jax.export.export(jax.jit(forward), platforms=["cpu", "cuda"])(shape).serialize())


def export(format_: str, artifacts: Path, side: int) -> None:
    folder = artifact_folder(artifacts, format_, side)
    folder.mkdir(parents=True)
    globals()[f"export_{format_}"](folder / FORMATS[format_], side)
    images = np.random.default_rng(side).integers(0, 256, (7, side, side, 3), dtype=np.uint8)
    GoldenBatch(images, logits_of(scale_pixels(images))).save(folder / GOLDEN_FILE)
    manifest = Manifest(
        model="tiny",
        spec_digest="none",
        format=format_,
        resolution_px=side,
        weights_digest="none",
        trained_on="nothing",
        files=digests_of_files(folder),
        versions={"numpy": np.__version__},
        parity=Parity(largest_difference=0.0, images=7, batches=(1, 5), tolerance=Tolerance()),
    )
    save_manifest(folder, manifest)


if __name__ == "__main__":
    for resolution in sys.argv[3:]:
        export(sys.argv[1], Path(sys.argv[2]), int(resolution))
