"""TensorFlow: the serving signature of a SavedModel, run without the Keras code that built it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import cast

from contract.arrays import FloatArray
from contract.errors import DeviceUnavailable, ManifestInvalid
from contract.manifest import Artifact
from serving.inference.devices import NEXT_BUILD, Device

# TensorFlow Lite imports JAX wherever it is installed. One process holds one framework, so here it is not to be found.
cast(dict[str, ModuleType | None], sys.modules).setdefault("jax", None)

import tensorflow as tf  # noqa: E402

SIGNATURE = "serving_default"


class TensorFlowModel:
    """One concrete function, ``function``; ``owner`` keeps its variables alive."""

    def __init__(
        self, owner: object, function: Callable[..., dict[str, tf.Tensor]], input_name: str, output_name: str
    ) -> None:
        self.owner = owner
        self.function = function
        self._input = input_name
        self._output = output_name

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes); ``.numpy()`` waits for the device."""
        answer = self.function(**{self._input: tf.convert_to_tensor(images)})
        logits: FloatArray = answer[self._output].numpy()
        return logits


def require_placed(variables: Iterable[tf.Variable], device: str) -> None:
    """Raise `DeviceUnavailable` where a weight is not on ``device``: TensorFlow quietly takes the CPU for it."""
    for variable in variables:
        if not variable.device.endswith(device.replace("/", ":")):
            raise DeviceUnavailable(
                f"{device} was asked for; TensorFlow {tf.__version__} put weights on {variable.device}. " + NEXT_BUILD
            )


class TensorFlowRuntime:
    """SavedModels on one device, with ``threads`` threads inside an operator and one operator at a time."""

    name = "tensorflow"

    def __init__(self, device: Device, threads: int) -> None:
        cards = tf.config.list_physical_devices("GPU")
        if device.is_cuda and device.index >= len(cards):
            raise DeviceUnavailable(
                f"{device} was asked for; TensorFlow {tf.__version__} sees {len(cards)} card(s). " + NEXT_BUILD
            )
        tf.config.set_visible_devices([cards[device.index]] if device.is_cuda else [], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._card = cards[device.index] if device.is_cuda else None
        # The one visible card is number 0 to TensorFlow, whichever it is to the driver.
        self._device = "/GPU:0" if device.is_cuda else "/CPU:0"

    def load(self, artifact: Artifact) -> TensorFlowModel:
        """The serving signature of ``artifact``; `ManifestInvalid` without one, `DeviceUnavailable` elsewhere."""
        with tf.device(self._device):
            loaded = tf.saved_model.load(str(artifact.model_path))
        if SIGNATURE not in loaded.signatures:
            raise ManifestInvalid(f"{artifact.name} has no signature {SIGNATURE!r}. Next: hemabench export --force")
        function, manifest = loaded.signatures[SIGNATURE], artifact.manifest
        require_placed(function.variables, self._device)
        return TensorFlowModel(loaded, function, manifest.input_name, manifest.output_name)

    def compilations(self) -> int:
        """None: a signature is one concrete function with the batch size left open, and is never traced again."""
        return 0

    def describe(self) -> dict[str, str]:
        """As TensorFlow reports it."""
        facts = {
            "library": f"tensorflow {tf.__version__}",
            "device": tf.config.list_logical_devices(self._device[1:4])[0].name,
            "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        }
        if self._card is not None:
            facts["device_name"] = str(tf.config.experimental.get_device_details(self._card).get("device_name"))
            facts["device_memory_bytes"] = str(tf.config.experimental.get_memory_info("GPU:0")["current"])
        return facts
