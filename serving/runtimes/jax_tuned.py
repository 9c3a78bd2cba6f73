"""JAX at its best on a processor: the exported program, with the convolutions that XLA does slowly written anew.

XLA's CPU compiler hands a convolution to a library routine. It gives the first one, over an image's three channels,
an eighth of the speed of a product, and never takes Winograd's algorithm for the others. Both can be said in
StableHLO, but only by a program that says them; so the artifact's program is walked operation by operation under
``jit``, and `convolutions.rewritten` stands in where it knows better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.mlir import ir
from jax.interpreters.mlir import make_ir_context

from contract.errors import ManifestInvalid
from contract.manifest import Artifact
from serving.inference.devices import Device
from serving.runtimes.convolutions import REWRITTEN, is_rewritable, rewritten
from serving.runtimes.jax import JaxModel, JaxRuntime

PLATFORM = "cpu"
LAYOUT = {
    "dimension_numbers": "#stablehlo.conv<[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>",
    "batch_group_count": "1 : i64",
    "feature_group_count": "1 : i64",
}
Value = Any  # a NumPy array where it is known when the model is loaded, a traced one where it depends on the images


class TunedJaxRuntime:
    """Programs written anew for the processor, one for each batch size that they meet; threads as in `JaxRuntime`."""

    name = "jax-winograd"

    def __init__(self, device: Device, threads: int) -> None:
        # A call that is waited for at once need not go to another thread. Settled before there is a backend.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        self._native = JaxRuntime(device, threads)

    def load(self, artifact: Artifact) -> JaxModel:
        """The program of ``artifact``; raises `ManifestInvalid` where it says something that is not known here."""
        self._native.load(artifact)  # raises where it was not exported for the processor
        exported = jax.export.deserialize(bytearray(artifact.model_path.read_bytes()))
        program = Program(exported)
        side = artifact.manifest.resolution_px
        jax.eval_shape(program.logits, jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))
        return JaxModel(jax.jit(program.logits))

    def compilations(self) -> int:
        """As JAX itself reports them, one for each program and batch size that it meets."""
        return self._native.compilations()

    def describe(self) -> dict[str, str]:
        """As `JaxRuntime`'s, and what convolutions became."""
        return self._native.describe() | {"convolutions": REWRITTEN}


class Program:
    """An exported program, taken apart; every value that does not depend on the images is a NumPy array."""

    def __init__(self, exported: jax.export.Exported) -> None:
        self._context = make_ir_context()
        with self._context:
            self._module = ir.Module.parse(exported.mlir_module())
        self._functions = {ir.StringAttr(each.attributes["sym_name"]).value: each for each in self._module.body}
        # A program for several platforms asks for the place of its own in their list first.
        several = len(exported.platforms) > 1
        self._first = [np.int32(exported.platforms.index(PLATFORM))] if several else []

    def logits(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes) of ``images``, as the program says."""
        with self._context:
            (logits,) = self._call("main", [*self._first, images])
        return jnp.asarray(logits)

    def _call(self, name: str, arguments: Sequence[Value]) -> list[Value]:
        block = self._functions[name].regions[0].blocks[0]
        return self._run(block, dict(zip(block.arguments, arguments, strict=True)))

    def _run(self, block: ir.Block, known: dict[ir.Value, Value]) -> list[Value]:
        """What ``block`` returns; ``known`` has the values of what is outside it."""
        for line in block.operations:
            operation = line.operation
            operands = [known[operand] for operand in operation.operands]
            match operation.name:
                case "func.return" | "stablehlo.return":
                    return operands
                case "func.call":
                    results = self._call(ir.FlatSymbolRefAttr(operation.attributes["callee"]).value, operands)
                case "stablehlo.case":
                    results = self._run(operation.regions[int(operands[0])].blocks[0], dict(known))
                case "stablehlo.custom_call":
                    results = []  # the check of the batch size, which is at least 1 here
                case name if name in OPERATIONS:
                    results = [OPERATIONS[name](operation, *operands)]
                case name:
                    raise ManifestInvalid(f"jax-winograd cannot rewrite the operation {name!r}. Next: --runtime jax")
            known.update(zip(operation.results, results, strict=True))
        raise AssertionError("a block without a return")


def _numbers(operation: ir.Operation, attribute: str) -> list[int]:
    return [int(number) for number in operation.attributes[attribute]]


def _constant(operation: ir.Operation) -> Value:
    values = np.array(ir.DenseElementsAttr(operation.attributes["value"]))
    return np.broadcast_to(values, ir.RankedTensorType(operation.result.type).shape)


def _reshape(operation: ir.Operation, values: Value) -> Value:
    return values.reshape(ir.RankedTensorType(operation.result.type).shape)


def _concatenate(operation: ir.Operation, *parts: Value) -> Value:
    return np.concatenate(parts, ir.IntegerAttr(operation.attributes["dimension"]).value)


def _size(operation: ir.Operation, values: Value) -> Value:
    return np.int32(values.shape[ir.IntegerAttr(operation.attributes["dimension"]).value])


def _broadcast(operation: ir.Operation, values: Value, *shape: Value) -> Value:
    """Left as thin as it is, in as many dimensions as it will have: the arithmetic that follows stretches it."""
    wide = ir.RankedTensorType(operation.result.type)
    thin = [1] * wide.rank
    for own, place in enumerate(_numbers(operation, "broadcast_dimensions")):
        thin[place] = values.shape[own]
    return np.reshape(values, thin) if isinstance(values, np.ndarray | np.generic) else values.reshape(thin)


def _sum(operation: ir.Operation, values: Value, start: Value) -> Value:
    (step,) = (inner for inner in operation.regions[0].blocks[0].operations if inner.operation.name in OPERATIONS)
    if step.operation.name != "stablehlo.add":
        raise ManifestInvalid(f"jax-winograd cannot reduce by {step.operation.name!r}. Next: --runtime jax")
    return values.sum(tuple(_numbers(operation, "dimensions"))) + start


def _convolution(operation: ir.Operation, images: Value, kernel: Value) -> Value:
    attributes = operation.attributes
    _require_form(operation, {"window_strides", "padding"}, LAYOUT)
    strides = _numbers(operation, "window_strides") if "window_strides" in attributes else [1, 1]
    padding = np.array(ir.DenseElementsAttr(attributes["padding"])) if "padding" in attributes else np.zeros((2, 2))
    pads = [(int(low), int(high)) for low, high in np.broadcast_to(padding, (2, 2))]
    own = rewritten(images, kernel, jnp) if is_rewritable(kernel, strides, pads) else None
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, strides, pads, dimension_numbers=layout) if own is None else own


def _product(operation: ir.Operation, left: Value, right: Value) -> Value:
    sums = f"lhs_contracting_dimensions = [{left.ndim - 1}], rhs_contracting_dimensions = [0]"
    _require_form(operation, {"precision_config"}, {"dot_dimension_numbers": f"#stablehlo.dot<{sums}>"})
    return jnp.tensordot(left, right, 1)


def _require_form(operation: ir.Operation, free: set[str], wanted: Mapping[str, str]) -> None:
    """Raise `ManifestInvalid` unless the attributes of ``operation`` but the ``free`` ones are as ``wanted``."""
    said = {name: str(operation.attributes[name]) for name in operation.attributes}
    for name in said.keys() - free:
        if said[name] != wanted.get(name):
            raise ManifestInvalid(
                f"jax-winograd cannot rewrite {operation.name} with {name} = {said[name]}. Next: --runtime jax"
            )


Evaluate = Callable[..., Value]
OPERATIONS: Mapping[str, Evaluate] = {
    "stablehlo.constant": _constant,
    "stablehlo.reshape": _reshape,
    "stablehlo.concatenate": _concatenate,
    "stablehlo.get_dimension_size": _size,
    "stablehlo.broadcast_in_dim": _broadcast,
    "stablehlo.dynamic_broadcast_in_dim": _broadcast,
    "stablehlo.compare": lambda operation, left, right: np.bool_(True),
    "stablehlo.add": lambda operation, left, right: left + right,
    "stablehlo.subtract": lambda operation, left, right: left - right,
    "stablehlo.multiply": lambda operation, left, right: left * right,
    "stablehlo.divide": lambda operation, left, right: left / right,
    "stablehlo.maximum": lambda operation, left, right: jnp.maximum(left, right),
    "stablehlo.rsqrt": lambda operation, values: 1 / np.sqrt(values),
    "stablehlo.reduce": _sum,
    "stablehlo.convolution": _convolution,
    "stablehlo.dot_general": _product,
}
