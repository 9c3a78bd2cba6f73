"""JAX and Flax, called carefully and as their users call them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from contract.arrays import FloatArray, ImageArray
from loadtest.mistakes.sample import Sample, Subject, divided_twice, preprocess
from train.frameworks.flax import ConvNorm, Network, build


class Ways:
    """Each method takes a sample to logits on the host, but for the one that does not wait for them.

    XLA takes its threads from the environment and the cores of the process, before it is imported.
    """

    def __init__(self, subject: Subject, threads: int | None) -> None:
        jax.config.update("jax_platforms", "cpu")
        self._subject = subject
        self._side = subject.resolution_px
        self._network = build(subject.spec, subject.weights)
        self._network.eval()
        self._function = jax.jit(lambda images: self._network(images))
        self._threads = threads

    def careful(self, sample: Sample) -> FloatArray:
        """Compiled, with the weights as constants; the logits are waited for."""
        return np.asarray(self._function(sample.nhwc))

    def no_sync(self, sample: Sample) -> jax.Array:
        """The same, and the clock is stopped when the work has been queued."""
        return self._function(sample.nhwc)

    def eager(self, sample: Sample) -> FloatArray:
        """``model(x)`` without ``jit``: operator by operator."""
        return np.asarray(self._network(sample.nhwc))

    def nnx_jit(self, sample: Sample) -> FloatArray:
        """``nnx.jit`` with the module as an argument: Flax goes through the whole module at every call."""
        return np.asarray(self._nnx_function(self._network, sample.nhwc))

    def transposed(self, sample: Sample) -> FloatArray:
        """The harness holds NCHW, the network wants NHWC: a copy for every call."""
        return np.asarray(self._function(np.ascontiguousarray(sample.nchw.transpose(0, 2, 3, 1))))

    def pil_resize(self, sample: Sample) -> FloatArray:
        """From the photograph, with the project's preprocessing."""
        return np.asarray(self._function(preprocess(sample.photograph, self._side)))

    def native_resize(self, sample: Sample) -> FloatArray:
        """From the photograph, with ``jax.image.resize`` as it comes: with antialiasing."""
        return np.asarray(self._with_resize(sample.photograph[np.newaxis]))

    def divided_twice(self, sample: Sample) -> FloatArray:
        """From the photograph, scaled by the loader and once more before the network."""
        return np.asarray(self._function(divided_twice(sample.photograph, self._side)))

    def default_network(self, sample: Sample) -> FloatArray:
        """The same weights in convolutions as Flax makes them: padding ``SAME`` at stride 2."""
        return np.asarray(self._of_defaults(sample.nhwc))

    @cached_property
    def _nnx_function(self) -> Callable[[Network, FloatArray], jax.Array]:
        function: Callable[[Network, FloatArray], jax.Array] = nnx.jit(lambda network, images: network(images))
        return function

    @cached_property
    def _with_resize(self) -> Callable[[ImageArray], jax.Array]:
        def resized(photograph: jax.Array) -> jax.Array:
            smaller = jax.image.resize(photograph.astype(jnp.float32), (1, self._side, self._side, 3), "bilinear")
            return self._network(smaller / 127.5 - 1)

        function: Callable[[ImageArray], jax.Array] = jax.jit(resized)
        return function

    @cached_property
    def _of_defaults(self) -> Callable[[FloatArray], jax.Array]:
        network = build(self._subject.spec, self._subject.weights)
        network.eval()
        for _, module in nnx.iter_modules(network):
            if isinstance(module, ConvNorm):
                module.conv.padding = "SAME"
        function: Callable[[FloatArray], jax.Array] = jax.jit(lambda images: network(images))
        return function

    @staticmethod
    def wait(result: object) -> None:
        """Until ``result``, and with it all that was queued before, is computed."""
        jax.block_until_ready(result)

    def describe(self) -> dict[str, str]:
        """As JAX reports it; it reports no threads, so they are those asked for."""
        return {"library": f"jax {jax.__version__}", "threads": str(self._threads or "all")}
