"""TensorFlow at its best: the SavedModel's signature with its variables frozen, as a graph or through XLA.

Through XLA with its own convolutions, or with `convolutions.rewritten` where they are slow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from serving.runtimes.tensorflow import TensorFlowRuntime  # first: it keeps JAX out of the process

# isort: split
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from contract.arrays import FloatArray
from contract.manifest import Artifact
from serving.inference.devices import Device
from serving.runtimes.convolutions import REWRITTEN, is_rewritable, rewritten

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

    def __init__(
        self,
        name: str,
        device: Device,
        threads: int,
        *,
        xla: bool = False,
        winograd: bool = False,
        bfloat16: bool = False,
    ) -> None:
        self.name = name
        self._native = TensorFlowRuntime(device, threads)
        self._xla = xla
        self._winograd = winograd
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
        if self._winograd:
            facts["convolutions"] = REWRITTEN
        return self._native.describe() | facts

    def _function(self, frozen: Any, images: int | None, side: int) -> Function:
        """One concrete function, already traced, called where no argument is matched with its signature any more.

        That way into TensorFlow's executor is not documented; it saves some 50 us a call, and the release is pinned.
        """
        self._programs += self._xla
        shape = tf.TensorSpec((images, side, side, 3), tf.float32)
        body = (lambda pixels: made_again(frozen, pixels)) if self._winograd else (lambda pixels: frozen(pixels)[0])
        traced = tf.function(body, input_signature=[shape], jit_compile=self._xla)
        concrete = traced.get_concrete_function()
        call = concrete._inference_function.call_flat
        return lambda pixels: call(pixels)[0]


def made_again(frozen: Any, images: tf.Tensor) -> tf.Tensor:
    """The output of the concrete function ``frozen`` for ``images``: each operation, or what stands for it."""
    known = {frozen.inputs[0].ref(): images}
    for operation in frozen.graph.get_operations():
        if operation.type in ("Placeholder", "NoOp"):
            continue
        own = _rewritten(operation, known) if operation.type == "Conv2D" else None
        results = _copied(operation, known) if own is None else [own]
        known |= {old.ref(): new for old, new in zip(operation.outputs, results, strict=True)}
    return known[frozen.outputs[0].ref()]


def _rewritten(operation: tf.Operation, known: dict[Any, tf.Tensor]) -> tf.Tensor | None:
    """What stands for a convolution at stride 1, whose "SAME" padding is the symmetric one; None for any other."""
    images, kernel = operation.inputs[0], tf.get_static_value(operation.inputs[1])
    attributes = {name: operation.get_attr(name) for name in ("padding", "data_format", "strides", "dilations")}
    if attributes != {"padding": b"SAME", "data_format": b"NHWC", "strides": [1] * 4, "dilations": [1] * 4}:
        return None
    sides = [[size // 2] * 2 for size in kernel.shape[:2]]
    return rewritten(known[images.ref()], kernel, tf) if is_rewritable(kernel, (1, 1), sides) else None


def _copied(operation: tf.Operation, known: dict[Any, tf.Tensor]) -> list[tf.Tensor]:
    attributes = {name: value for name, value in operation.node_def.attr.items() if not name.startswith("_")}
    inputs = [known[tensor.ref()] for tensor in operation.inputs]
    dtypes = [tensor.dtype for tensor in operation.outputs]
    copied = tf.compat.v1.get_default_graph().create_op(operation.type, inputs, dtypes, attrs=attributes)
    return list(copied.outputs)


def graph(device: Device, threads: int) -> TunedTensorFlowRuntime:
    """A frozen ``tf.function``, optimised by Grappler, float32."""
    return TunedTensorFlowRuntime("tensorflow-graph", device, threads)


def graph_bfloat16(device: Device, threads: int) -> TunedTensorFlowRuntime:
    """The same with Grappler's mixed precision: oneDNN's convolutions in bfloat16."""
    return TunedTensorFlowRuntime("tensorflow-graph-bf16", device, threads, bfloat16=True)


def xla(device: Device, threads: int) -> TunedTensorFlowRuntime:
    """``jit_compile=True``, float32."""
    return TunedTensorFlowRuntime("tensorflow-xla", device, threads, xla=True)


def winograd(device: Device, threads: int) -> TunedTensorFlowRuntime:
    """``jit_compile=True``, float32, convolutions rewritten."""
    return TunedTensorFlowRuntime("tensorflow-winograd", device, threads, xla=True, winograd=True)
