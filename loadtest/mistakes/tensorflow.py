"""TensorFlow and Keras, called carefully and as their users call them."""

from __future__ import annotations

from functools import cached_property

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from contract.architecture import ConvNorm, Dense, GlobalAveragePool, Layer, Residual
from contract.arrays import FloatArray
from loadtest.mistakes.sample import Sample, Subject, divided_twice, preprocess
from train.frameworks.keras import build, canonical_variables, write_weights  # first: it sets how TensorFlow starts


class Ways:
    """Each method takes a sample to logits on the host, which TensorFlow's CPU operators wait for by themselves."""

    def __init__(self, subject: Subject, threads: int | None) -> None:
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self._subject = subject
        self._side = subject.resolution_px
        self._model = build(subject.spec, subject.weights, self._side)
        self._function = tf.function(lambda images: self._model(images, training=False))

    def careful(self, sample: Sample) -> FloatArray:
        """One traced graph, called directly."""
        return self._call(sample.nhwc)

    def eager(self, sample: Sample) -> FloatArray:
        """``model(x)``, as in every tutorial: operator by operator."""
        logits: FloatArray = self._model(sample.nhwc, training=False).numpy()
        return logits

    def predict_loop(self, sample: Sample) -> FloatArray:
        """``model.predict(x)`` for one image, again and again."""
        logits: FloatArray = self._model.predict(sample.nhwc, verbose=0)
        return logits

    def transposed(self, sample: Sample) -> FloatArray:
        """The harness holds NCHW, the network wants NHWC: a copy for every call."""
        return self._call(np.ascontiguousarray(sample.nchw.transpose(0, 2, 3, 1)))

    def pil_resize(self, sample: Sample) -> FloatArray:
        """From the photograph, with the project's preprocessing."""
        return self._call(preprocess(sample.photograph, self._side))

    def native_resize(self, sample: Sample) -> FloatArray:
        """From the photograph, with ``tf.image.resize`` as it comes: no antialiasing."""
        smaller = tf.image.resize(sample.photograph[np.newaxis], (self._side, self._side))
        logits: FloatArray = self._function(smaller / 127.5 - 1).numpy()
        return logits

    def divided_twice(self, sample: Sample) -> FloatArray:
        """From the photograph, scaled by the loader and once more before the network."""
        return self._call(divided_twice(sample.photograph, self._side))

    def default_network(self, sample: Sample) -> FloatArray:
        """The same weights in layers as Keras makes them: batch norm's epsilon 1e-3, padding ``same`` at stride 2."""
        logits: FloatArray = self._of_defaults(tf.constant(sample.nhwc)).numpy()
        return logits

    def _call(self, images: FloatArray) -> FloatArray:
        logits: FloatArray = self._function(tf.constant(images)).numpy()
        return logits

    @cached_property
    def _of_defaults(self) -> tf.types.experimental.PolymorphicFunction:
        spec = self._subject.spec
        images = x = keras.Input((self._side, self._side, spec.input_channels))
        for layer in spec.layers:
            x = _apply(layer, x)
        model = keras.Model(images, x)
        write_weights(canonical_variables(model, spec), self._subject.weights)
        return tf.function(lambda given: model(given, training=False))

    @staticmethod
    def wait(result: object) -> None:
        """Nothing is ever on its way: operators on the CPU return when they have computed."""

    @staticmethod
    def describe() -> dict[str, str]:
        """As TensorFlow reports it."""
        threads = tf.config.threading.get_intra_op_parallelism_threads() or "all"
        return {"library": f"tensorflow {tf.__version__}, keras {keras.__version__}", "threads": str(threads)}


def _apply(layer: Layer, x: keras.KerasTensor) -> keras.KerasTensor:
    """``layer`` as a user writes it who takes every default."""
    match layer:
        case ConvNorm():
            return _conv_norm(layer, x)
        case Residual():
            body = x
            for conv in layer.body:
                body = _conv_norm(conv, body)
            shortcut = x if layer.shortcut is None else _conv_norm(layer.shortcut, x)
            return layers.ReLU()(layers.Add()([shortcut, body]))
        case GlobalAveragePool():
            return layers.GlobalAveragePooling2D()(x)
        case Dense():
            return layers.Dense(layer.units, name=layer.name)(x)


def _conv_norm(conv: ConvNorm, x: keras.KerasTensor) -> keras.KerasTensor:
    name = conv.name.replace(".", "_")
    x = layers.Conv2D(
        conv.filters, conv.kernel_px, strides=conv.stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU()(x) if conv.relu else x
