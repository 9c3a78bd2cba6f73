"""The network in Flax NNX on JAX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from contract import architecture
from contract.architecture import ModelSpec, is_trained
from contract.arrays import FloatArray
from contract.errors import InvalidSettings
from contract.parity import Predict
from contract.weights import Weights
from train.batches import Batch
from train.settings import TrainSettings
from train.snapshots import Arrays

PLATFORMS = ("cpu", "cuda")


class ConvNorm(nnx.Module):
    def __init__(self, layer: architecture.ConvNorm, channels: int, spec: ModelSpec, rngs: nnx.Rngs) -> None:
        self.relu = layer.relu
        pad = (layer.padding_px, layer.padding_px)
        self.conv = nnx.Conv(
            channels,
            layer.filters,
            kernel_size=(layer.kernel_px, layer.kernel_px),
            strides=layer.stride,
            padding=(pad, pad),
            use_bias=False,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(
            layer.filters,
            momentum=spec.norm_momentum,
            epsilon=spec.norm_epsilon,
            use_fast_variance=False,  # E[x^2] - E[x]^2 loses digits that the other two frameworks keep
            rngs=rngs,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.norm(self.conv(x))
        return nnx.relu(y) if self.relu else y


class Residual(nnx.Module):
    def __init__(self, layer: architecture.Residual, channels: int, spec: ModelSpec, rngs: nnx.Rngs) -> None:
        widths = [channels, *(conv.filters for conv in layer.body)]
        self.body = nnx.List(ConvNorm(conv, w, spec, rngs) for conv, w in zip(layer.body, widths, strict=False))
        self.shortcut = None if layer.shortcut is None else ConvNorm(layer.shortcut, channels, spec, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for conv in self.body:
            y = conv(y)
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Network(nnx.Module):
    def __init__(self, spec: ModelSpec, rngs: nnx.Rngs) -> None:
        channels = spec.input_channels
        features: list[nnx.Module] = []
        for layer in spec.layers:
            if isinstance(layer, architecture.ConvNorm):
                features.append(ConvNorm(layer, channels, spec, rngs))
                channels = layer.filters
            elif isinstance(layer, architecture.Residual):
                features.append(Residual(layer, channels, spec, rngs))
                channels = layer.body[-1].filters
        self.features = nnx.List(features)
        self.head = nnx.Linear(channels, spec.head.units, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = images
        for layer in self.features:
            x = layer(x)
        return self.head(x.mean(axis=(1, 2)))


def build(spec: ModelSpec, weights: Mapping[str, FloatArray]) -> Network:
    """The network of ``spec`` with ``weights``."""
    network = Network(spec, nnx.Rngs(0))  # its own draws are overwritten at once
    write_weights(network, spec, weights)
    return network


def canonical_variables(network: Network, spec: ModelSpec) -> dict[str, nnx.Variable]:
    """Every variable under its canonical name; Flax' layout is the canonical one."""
    variables: dict[str, nnx.Variable] = {}
    for layer, module in zip(spec.layers, network.features, strict=False):
        for conv, block in _convolutions(layer, module):
            norm = block.norm
            parts = (block.conv.kernel, norm.scale, norm.bias, norm.mean, norm.var)
            for part, variable in zip(("kernel", "scale", "shift", "mean", "variance"), parts, strict=True):
                variables[f"{conv.name}.{part}"] = variable
    head = {f"{spec.head.name}.kernel": network.head.kernel, f"{spec.head.name}.bias": network.head.bias}
    return variables | head


def _convolutions(
    layer: architecture.Layer, module: ConvNorm | Residual
) -> list[tuple[architecture.ConvNorm, ConvNorm]]:
    if isinstance(layer, architecture.ConvNorm):
        return [(layer, module)]
    pairs = list(zip(layer.body, module.body, strict=True))
    return pairs if layer.shortcut is None else [*pairs, (layer.shortcut, module.shortcut)]


def write_weights(network: Network, spec: ModelSpec, weights: Mapping[str, FloatArray]) -> None:
    """Copy canonical ``weights`` into ``network``."""
    for name, variable in canonical_variables(network, spec).items():
        variable.set_value(jnp.asarray(weights[name]))


def _mean_cross_entropy(network: Network, images: jax.Array, targets: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy(network(images), targets).mean()


@nnx.jit
def _update(
    network: Network, optimizer: nnx.Optimizer, images: jax.Array, targets: jax.Array, learning_rate: jax.Array
) -> jax.Array:
    loss, gradients = nnx.value_and_grad(_mean_cross_entropy)(network, images, targets)
    optimizer.opt_state.hyperparams["learning_rate"].set_value(learning_rate)
    optimizer.update(network, gradients)
    return loss


@nnx.jit
def _logits(network: Network, images: jax.Array) -> jax.Array:
    return network(images)


class Trainer:
    """See `train.frameworks.Trainer`."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, FloatArray], settings: TrainSettings) -> None:
        self._spec = spec
        self._network = build(spec, weights)
        self._optimizer = nnx.Optimizer(self._network, _adamw(settings), wrt=nnx.Param)

    def step(self, batch: Batch, learning_rate: float) -> float:
        self._network.train()
        return float(_update(self._network, self._optimizer, batch.images, batch.targets, jnp.float32(learning_rate)))

    def gradients(self, batch: Batch) -> Weights:
        spare = build(self._spec, self.weights())  # so that the running statistics of this one stay
        spare.train()
        found = nnx.grad(_mean_cross_entropy)(spare, jnp.asarray(batch.images), jnp.asarray(batch.targets))
        nnx.update(spare, found)
        gradients = canonical_variables(spare, self._spec)
        return {name: np.array(gradients[name][...]) for name in self._spec.parameter_shapes() if is_trained(name)}

    def predict(self, images: FloatArray) -> FloatArray:
        self._network.eval()
        return np.asarray(_logits(self._network, images))

    def weights(self) -> Weights:
        variables = canonical_variables(self._network, self._spec)
        return {name: np.array(variables[name][...]) for name in self._spec.parameter_shapes()}

    def replace_weights(self, weights: Mapping[str, FloatArray]) -> None:
        write_weights(self._network, self._spec, weights)

    def optimizer_state(self) -> Arrays:
        leaves = jax.tree.leaves(nnx.state(self._optimizer))
        return {f"{position:04}": np.array(leaf) for position, leaf in enumerate(leaves)}

    def restore_optimizer(self, state: Arrays) -> None:
        shape = jax.tree.structure(nnx.state(self._optimizer))
        nnx.update(self._optimizer, jax.tree.unflatten(shape, [jnp.asarray(state[key]) for key in sorted(state)]))


def _adamw(settings: TrainSettings) -> optax.GradientTransformation:
    wanted = settings.optimizer
    # Without static_args the mask, a callable, would be taken for a schedule.
    return optax.inject_hyperparams(optax.adamw, static_args=("mask",))(
        learning_rate=settings.peak_learning_rate,
        b1=wanted.beta1,
        b2=wanted.beta2,
        eps=wanted.epsilon,
        weight_decay=wanted.weight_decay,
        mask=_kernels_only,
    )


def _kernels_only(parameters: nnx.State) -> nnx.State:
    return jax.tree.map_with_path(
        lambda path, _: any(getattr(key, "key", None) == "kernel" for key in path), parameters
    )


def export(spec: ModelSpec, weights: Mapping[str, FloatArray], resolution_px: int, format_: str, path: Path) -> None:
    """Write a ``stablehlo`` file for `PLATFORMS`; see `train.frameworks.Framework`."""
    if format_ != "stablehlo":
        raise InvalidSettings(f"flax does not export {format_!r}")
    network = build(spec, weights)
    network.eval()
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, resolution_px, resolution_px, spec.input_channels), jnp.float32)
    program = jax.export.export(jax.jit(lambda x: network(x)), platforms=PLATFORMS)(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(program.serialize())


def reload(format_: str, path: Path) -> Predict:
    """See `train.frameworks.Framework`."""
    call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    return lambda images: np.asarray(call(images))
