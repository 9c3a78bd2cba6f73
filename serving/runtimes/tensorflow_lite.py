"""TensorFlow's runtime for small models, LiteRT (formerly TensorFlow Lite), with XNNPACK's kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import NamedTuple

from ai_edge_litert.interpreter import Interpreter

from contract.arrays import FloatArray
from contract.manifest import Artifact
from serving.inference.devices import Device
from serving.runtimes.tensorflow_conversion import converted


class Prepared(NamedTuple):
    """An interpreter for one shape, and where its images and logits go."""

    interpreter: Interpreter
    images: int
    logits: int


class LiteModel:
    """An interpreter per batch size, made by ``prepare``: tensors are laid out, and kernels packed, for one shape."""

    def __init__(self, prepare: Callable[[tuple[int, ...]], Prepared]) -> None:
        self._prepare = prepare
        self._by_batch: dict[int, Prepared] = {}

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes), copied out of the interpreter's memory."""
        found = self._by_batch.get(len(images))
        if found is None:
            found = self._by_batch[len(images)] = self._prepare(images.shape)
        found.interpreter.set_tensor(found.images, images)
        found.interpreter.invoke()
        logits: FloatArray = found.interpreter.get_tensor(found.logits)
        return logits


class LiteRuntime:
    """SavedModels converted where they run; the same float32 kernels and no quantisation."""

    name = "tensorflow-lite"

    def __init__(self, device: Device, threads: int) -> None:
        self._device, self._threads = device, threads
        self._prepared = 0

    def load(self, artifact: Artifact) -> LiteModel:
        """The serving signature of ``artifact``, converted; raises `ManifestInvalid` without one."""
        return LiteModel(partial(self._prepare, converted(artifact)))

    def compilations(self) -> int:
        """Interpreters, one per model and batch size: none is a compilation, but each takes the time that one would."""
        return self._prepared

    def _prepare(self, flatbuffer: bytes, shape: tuple[int, ...]) -> Prepared:
        interpreter = Interpreter(model_content=flatbuffer, num_threads=self._threads)
        (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(images["index"], shape)
        interpreter.allocate_tensors()
        self._prepared += 1
        return Prepared(interpreter, images["index"], logits["index"])

    def describe(self) -> dict[str, str]:
        """As LiteRT is installed; its interpreter names neither its delegate nor its threads."""
        return {
            "library": f"ai_edge_litert {version('ai-edge-litert')}",
            "device": str(self._device),
            "threads": str(self._threads),
            "compiler": "none, kernels by XNNPACK",
            "precision": "float32",
        }
