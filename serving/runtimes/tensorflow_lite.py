"""TensorFlow's runtime for small models, LiteRT (formerly TensorFlow Lite), with XNNPACK's kernels."""

from __future__ import annotations

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
    """An interpreter for each batch size: its tensors are laid out, and its kernels packed, for one shape."""

    def __init__(self, flatbuffer: bytes, threads: int) -> None:
        self._flatbuffer, self._threads = flatbuffer, threads
        self._by_batch: dict[int, Prepared] = {}

    @property
    def prepared(self) -> int:
        """For how many batch sizes there is an interpreter."""
        return len(self._by_batch)

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes), copied out of the interpreter's memory."""
        found = self._by_batch.get(len(images))
        if found is None:
            found = self._by_batch[len(images)] = self._prepare(images.shape)
        found.interpreter.set_tensor(found.images, images)
        found.interpreter.invoke()
        logits: FloatArray = found.interpreter.get_tensor(found.logits)
        return logits

    def _prepare(self, shape: tuple[int, ...]) -> Prepared:
        interpreter = Interpreter(model_content=self._flatbuffer, num_threads=self._threads)
        (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(images["index"], shape)
        interpreter.allocate_tensors()
        return Prepared(interpreter, images["index"], logits["index"])


class LiteRuntime:
    """SavedModels converted where they run; the same float32 kernels and no quantisation."""

    name = "tensorflow-lite"

    def __init__(self, device: Device, threads: int) -> None:
        self._device, self._threads = device, threads
        self._models: list[LiteModel] = []

    def load(self, artifact: Artifact) -> LiteModel:
        """The serving signature of ``artifact``, converted; raises `ManifestInvalid` without one."""
        self._models.append(LiteModel(converted(artifact), self._threads))
        return self._models[-1]

    def compilations(self) -> int:
        """Interpreters: none is a compilation, but each takes the time that one would."""
        return sum(model.prepared for model in self._models)

    def describe(self) -> dict[str, str]:
        """As LiteRT is installed; its interpreter names neither its delegate nor its threads."""
        return {
            "library": f"ai_edge_litert {version('ai-edge-litert')}",
            "device": str(self._device),
            "threads": str(self._threads),
            "compiler": "none, kernels by XNNPACK",
            "precision": "float32",
        }
