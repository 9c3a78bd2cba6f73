"""JAX: a serialised StableHLO program, compiled for each batch size that it meets; Flax is not imported."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.export
import jax.monitoring
import numpy as np

from contract.arrays import FloatArray
from contract.errors import DeviceUnavailable, ManifestInvalid
from contract.manifest import Artifact
from serving.inference.devices import NEXT_BUILD, Device

COMPILED = "/jax/core/compile/backend_compile_duration"
# XLA's own kernels for products take TensorFloat-32 whatever the environment says; NVIDIA's libraries heed it.
ON_A_CARD = {"xla_gpu_enable_triton_gemm": False}


class JaxModel:
    """One compiled program per batch size."""

    def __init__(self, function: Callable[[FloatArray], jax.Array]) -> None:
        self._function = function

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes); turning them into a NumPy array waits for the device."""
        return np.asarray(self._function(images))


class JaxRuntime:
    """StableHLO programs on one device.

    XLA's CPU client takes the size of its thread pool from the environment alone (see
    ``pinned_environment``), and from the cores that the process may use.
    """

    name = "jax"

    def __init__(self, device: Device, threads: int) -> None:
        try:
            # The platform list is closed, so that JAX cannot fall back to another one.
            jax.config.update("jax_platforms", "cuda,cpu" if device.is_cuda else "cpu")
            self._device = jax.devices("gpu" if device.is_cuda else "cpu")[device.index]
        except (RuntimeError, IndexError) as error:
            raise DeviceUnavailable(
                f"{device} was asked for; JAX {jax.__version__} does not have it: {error}. " + NEXT_BUILD
            ) from error
        # A host array given to a compiled program goes there by itself, which costs half of an explicit copy.
        jax.config.update("jax_default_device", self._device)
        self._threads = threads
        self._compilations = 0
        jax.monitoring.register_event_duration_secs_listener(self._count)

    def load(self, artifact: Artifact) -> JaxModel:
        """The program of ``artifact``; raises `ManifestInvalid` where it was not exported for this platform."""
        exported = jax.export.deserialize(bytearray(artifact.model_path.read_bytes()))
        platform = "cuda" if self._device.platform == "gpu" else self._device.platform
        if platform not in exported.platforms:
            raise ManifestInvalid(
                f"{artifact.name} was exported for {', '.join(exported.platforms)}, not for {platform}. "
                "Next: hemabench export --force"
            )
        options = ON_A_CARD if platform == "cuda" else None
        return JaxModel(jax.jit(exported.call, compiler_options=options))

    def compilations(self) -> int:
        """As JAX itself reports them, one for each program and batch size that it meets."""
        return self._compilations

    def _count(self, event: str, duration_s: float, **details: str | int) -> None:
        self._compilations += event == COMPILED

    def describe(self) -> dict[str, str]:
        """As JAX reports it; the threads are those asked for, because XLA reports none."""
        facts = {
            "library": f"jax {jax.__version__}",
            "device": str(self._device),
            "device_name": self._device.device_kind,
            "threads": f"{self._threads} asked for",
        }
        if (memory := self._device.memory_stats()) is not None:
            facts["device_memory_bytes"] = str(memory.get("bytes_in_use"))
        return facts
