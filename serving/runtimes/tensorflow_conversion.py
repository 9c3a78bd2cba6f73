"""A SavedModel as LiteRT reads it, made by TensorFlow in a process of its own: the one that serves need not hold it."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from contract.children import answer_parent, run_child
from contract.manifest import Artifact, load_artifact
from contract.progress import silent
from contract.storage import write_atomically


def converted(artifact: Artifact) -> bytes:
    """The serving signature of ``artifact`` as a flatbuffer, in float32; raises `ManifestInvalid` without one."""
    with tempfile.TemporaryDirectory(prefix="hemabench-") as folder:
        model = Path(folder, "model.tflite")
        # Absolute: the child runs in the folder of the code.
        arguments = [str(artifact.folder.absolute()), str(model)]
        run_child("serving.runtimes.tensorflow_conversion", arguments, int, silent)
        return model.read_bytes()


def _convert(folder: Path, into: Path) -> int:
    """Write the flatbuffer, and return its bytes' number."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from serving.inference.devices import CPU
    from serving.runtimes.tensorflow import TensorFlowRuntime  # first: it keeps JAX out of the process

    # isort: split
    import tensorflow as tf

    native = TensorFlowRuntime(CPU, 1).load(load_artifact(folder))  # held until its variables have been read
    flatbuffer = tf.lite.TFLiteConverter.from_concrete_functions([native.function], native.owner).convert()
    write_atomically(into, flatbuffer)
    return len(flatbuffer)


def main() -> None:
    """The process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    answer_parent(options.output, lambda: _convert(options.artifact, options.into))


if __name__ == "__main__":
    main()
