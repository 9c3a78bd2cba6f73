"""The network in Keras on TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read while TensorFlow is imported
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from contract.architecture import ConvNorm, Dense, GlobalAveragePool, Layer, ModelSpec, Residual
from contract.arrays import FloatArray
from contract.errors import InvalidSettings
from contract.parity import Predict
from contract.weights import Weights
from train.batches import Batch
from train.settings import TrainSettings
from train.snapshots import Arrays

# Canonical part -> the attribute of the Keras layer that holds it.
NORM_PARTS = {"scale": "gamma", "shift": "beta", "mean": "moving_mean", "variance": "moving_variance"}


def build(spec: ModelSpec, weights: Mapping[str, FloatArray], side_px: int | None = None) -> keras.Model:
    """The network of ``spec`` with ``weights``; without ``side_px`` it takes any resolution."""
    images = keras.Input((side_px, side_px, spec.input_channels), name="images")
    x = images
    for layer in spec.layers:
        x = _apply(layer, spec, x)
    model = keras.Model(images, x, name=spec.name)
    write_weights(canonical_variables(model, spec), weights)
    return model


def _apply(layer: Layer, spec: ModelSpec, x: keras.KerasTensor) -> keras.KerasTensor:
    match layer:
        case ConvNorm():
            return _conv_norm(layer, spec, x)
        case Residual():
            body = x
            for conv in layer.body:
                body = _conv_norm(conv, spec, body)
            added = x if layer.shortcut is None else _conv_norm(layer.shortcut, spec, x)
            return layers.ReLU(name=_keras_name(layer.name, "relu"))(layers.Add()([added, body]))
        case GlobalAveragePool():
            return layers.GlobalAveragePooling2D(name=layer.name)(x)
        case Dense():
            return layers.Dense(layer.units, name=layer.name)(x)


def _conv_norm(conv: ConvNorm, spec: ModelSpec, x: keras.KerasTensor) -> keras.KerasTensor:
    # "same" pads (0, 1) at stride 2 and even sides; the network pads (1, 1), so the zeros are written out there.
    same = conv.stride == 1
    if not same and conv.padding_px:
        x = layers.ZeroPadding2D(conv.padding_px)(x)
    x = layers.Conv2D(
        conv.filters,
        conv.kernel_px,
        strides=conv.stride,
        padding="same" if same else "valid",
        use_bias=False,
        name=_keras_name(conv.name, "conv"),
    )(x)
    x = layers.BatchNormalization(
        momentum=spec.norm_momentum, epsilon=spec.norm_epsilon, name=_keras_name(conv.name, "norm")
    )(x)
    return layers.ReLU()(x) if conv.relu else x


def _keras_name(layer: str, part: str) -> str:
    return f"{layer.replace('.', '_')}_{part}"


def canonical_variables(model: keras.Model, spec: ModelSpec) -> dict[str, keras.Variable]:
    """Every variable under its canonical name; Keras' layout is the canonical one."""
    variables: dict[str, keras.Variable] = {}
    for conv in spec.convolutions():
        variables[f"{conv.name}.kernel"] = model.get_layer(_keras_name(conv.name, "conv")).kernel
        norm = model.get_layer(_keras_name(conv.name, "norm"))
        variables |= {f"{conv.name}.{part}": getattr(norm, attribute) for part, attribute in NORM_PARTS.items()}
    head = model.get_layer(spec.head.name)
    return variables | {f"{spec.head.name}.kernel": head.kernel, f"{spec.head.name}.bias": head.bias}


def write_weights(variables: Mapping[str, keras.Variable], weights: Mapping[str, FloatArray]) -> None:
    """Copy canonical ``weights`` into the ``variables`` of `canonical_variables`."""
    for name, variable in variables.items():
        variable.assign(weights[name])


class Trainer:
    """See `train.frameworks.Trainer`."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, FloatArray], settings: TrainSettings) -> None:
        self._model = build(spec, weights, settings.resolution_px)
        self._variables = canonical_variables(self._model, spec)
        self._names = tuple(spec.parameter_shapes())
        self._optimizer = _adamw(self._variables, settings)
        self._optimizer.build(self._model.trainable_variables)
        self._step = tf.function(self._update, reduce_retracing=True)
        self._gradients = tf.function(self._differentiate, reduce_retracing=True)
        self._predict = tf.function(lambda images: self._model(images, training=False), reduce_retracing=True)

    def step(self, batch: Batch, learning_rate: float) -> float:
        self._optimizer.learning_rate.assign(learning_rate)
        return float(self._step(tf.constant(batch.images), tf.constant(batch.targets)))

    def gradients(self, batch: Batch) -> Weights:
        statistics = {name: array for name, array in self.weights().items() if not _is_trainable(self._variables[name])}
        _, gradients = self._gradients(tf.constant(batch.images), tf.constant(batch.targets))
        for name, array in statistics.items():
            self._variables[name].assign(array)
        by_path = {v.path: g for v, g in zip(self._model.trainable_variables, gradients, strict=True)}
        trained = (name for name in self._names if _is_trainable(self._variables[name]))
        return {name: np.array(by_path[self._variables[name].path]) for name in trained}

    def predict(self, images: FloatArray) -> FloatArray:
        return self._predict(tf.constant(images)).numpy()

    def weights(self) -> Weights:
        return {name: np.array(self._variables[name]) for name in self._names}

    def replace_weights(self, weights: Mapping[str, FloatArray]) -> None:
        write_weights(self._variables, weights)

    def optimizer_state(self) -> Arrays:
        # By position: the paths of a second optimiser in one process are numbered anew.
        return {f"{position:04}": np.array(variable) for position, variable in enumerate(self._optimizer.variables)}

    def restore_optimizer(self, state: Arrays) -> None:
        for position, variable in enumerate(self._optimizer.variables):
            variable.assign(state[f"{position:04}"])

    def _update(self, images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._differentiate(images, targets)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss

    def _differentiate(self, images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = self._model(images, training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        return loss, tape.gradient(loss, self._model.trainable_variables)


def _is_trainable(variable: keras.Variable) -> bool:
    return bool(variable.trainable)


def _adamw(variables: Mapping[str, keras.Variable], settings: TrainSettings) -> keras.optimizers.AdamW:
    wanted = settings.optimizer
    optimizer = keras.optimizers.AdamW(
        learning_rate=settings.peak_learning_rate,
        weight_decay=wanted.weight_decay,
        beta_1=wanted.beta1,
        beta_2=wanted.beta2,
        epsilon=wanted.epsilon,
    )
    optimizer.exclude_from_weight_decay(
        var_list=[v for name, v in variables.items() if v.trainable and not name.endswith(".kernel")]
    )
    return optimizer


def export(spec: ModelSpec, weights: Mapping[str, FloatArray], resolution_px: int, format_: str, path: Path) -> None:
    """Write a ``saved_model`` folder; see `train.frameworks.Framework`."""
    if format_ != "saved_model":
        raise InvalidSettings(f"keras does not export {format_!r}")
    model = build(spec, weights, resolution_px)
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = tf.TensorSpec((None, resolution_px, resolution_px, spec.input_channels), tf.float32, name="images")
    archive.add_endpoint("serve", lambda images: {"logits": model(images, training=False)}, input_signature=[signature])
    archive.write_out(str(path), verbose=False)


def reload(format_: str, path: Path) -> Predict:
    """See `train.frameworks.Framework`."""
    loaded = tf.saved_model.load(str(path))

    def predict(images: FloatArray) -> FloatArray:
        return loaded.serve(tf.constant(images))["logits"].numpy()

    return predict
