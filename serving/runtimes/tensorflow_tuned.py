"""TensorFlow at its best: the SavedModel's signature with its variables frozen, as a graph or through XLA."""

from __future__ import annotations

from collections.abc import Callable

from serving.runtimes.tensorflow import TensorFlowRuntime  # first: it keeps JAX out of the process

# isort: split
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from contract.arrays import FloatArray
from contract.errors import DeviceUnavailable
from contract.manifest import Artifact
from serving.inference.devices import Device

Function = Callable[[tf.Tensor], tf.Tensor]


class TunedTensorFlowModel:
    """One concrete function for all batch sizes, or one for each: ``function_for`` makes them."""

    def __init__(self, function_for: Callable[[int], Function]) -> None:
        self._function_for = function_for
        self._functions: dict[int, Function] = {}

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes); ``.numpy()`` waits for the device."""
        function = self._functions.get(len(images))
        if function is None:
            function = self._functions[len(images)] = self._function_for(len(images))
        logits: FloatArray = function(tf.convert_to_tensor(images)).numpy()
        return logits


class TunedTensorFlowRuntime:
    """Frozen signatures on the processor; threads as in `TensorFlowRuntime`."""

    def __init__(self, name: str, device: Device, threads: int, *, xla: bool = False, bfloat16: bool = False) -> None:
        if device.is_cuda:
            raise DeviceUnavailable(f"{device} was asked for; {name} is tuned for the processor. Next: --device cpu")
        self.name = name
        self._native = TensorFlowRuntime(device, threads)
        self._xla = xla
        self._bfloat16 = bfloat16
        self._programs = 0
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": bfloat16})

    def load(self, artifact: Artifact) -> TunedTensorFlowModel:
        """The serving signature of ``artifact``, its variables made constants; raises `ManifestInvalid` without one."""
        native = self._native.load(artifact)  # held until its variables have been read
        frozen = convert_variables_to_constants_v2(native.function)
        side = artifact.manifest.resolution_px
        if self._xla:
            return TunedTensorFlowModel(lambda images: self._function(frozen, images, side))
        function = self._function(frozen, None, side)
        return TunedTensorFlowModel(lambda images: function)

    def compilations(self) -> int:
        """Programs given to XLA, one per model and batch size; a graph is interpreted, and never traced again."""
        return self._programs

    def describe(self) -> dict[str, str]:
        """As TensorFlow reports it."""
        facts = {"compiler": "XLA" if self._xla else "none", "precision": "bfloat16" if self._bfloat16 else "float32"}
        return self._native.describe() | facts

    def _function(self, frozen: Callable[[tf.Tensor], list[tf.Tensor]], images: int | None, side: int) -> Function:
        """One concrete function, already traced, which is the shortest way into TensorFlow's executor."""
        self._programs += self._xla
        shape = tf.TensorSpec((images, side, side, 3), tf.float32)
        traced = tf.function(lambda pixels: frozen(pixels)[0], input_signature=[shape], jit_compile=self._xla)
        function: Function = traced.get_concrete_function()
        return function


def graph(device: Device, threads: int) -> TunedTensorFlowRuntime:
    """A frozen ``tf.function``, optimised by Grappler, float32."""
    return TunedTensorFlowRuntime("tensorflow-graph", device, threads)


def graph_bfloat16(device: Device, threads: int) -> TunedTensorFlowRuntime:
    """The same with Grappler's mixed precision: oneDNN's convolutions in bfloat16."""
    return TunedTensorFlowRuntime("tensorflow-graph-bf16", device, threads, bfloat16=True)


def xla(device: Device, threads: int) -> TunedTensorFlowRuntime:
    """``jit_compile=True``, float32."""
    return TunedTensorFlowRuntime("tensorflow-xla", device, threads, xla=True)
