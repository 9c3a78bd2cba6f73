"""OpenVINO: an ONNX file, compiled for the processor once for each batch size that it meets."""

from __future__ import annotations

from collections.abc import Callable

import openvino

from contract.arrays import FloatArray
from contract.manifest import Artifact
from serving.inference.devices import Device
from serving.runtimes.base import require_lone_file

# OpenVINO's own words for the precision that it computes in.
# In int8 it is that of what the network leaves in float32.
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


class OpenVinoModel:
    """One request per batch size: shapes that are known beforehand cost a sixth less than open ones at 28 px."""

    def __init__(self, request_for: Callable[[int], openvino.InferRequest]) -> None:
        self._request_for = request_for
        self._requests: dict[int, openvino.InferRequest] = {}

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes), copied out of the request; ``infer`` returns when they are there."""
        request = self._requests.get(len(images))
        if request is None:
            request = self._requests[len(images)] = self._request_for(len(images))
        logits: FloatArray = request.infer([images], share_inputs=True)[0]
        return logits


class OpenVinoRuntime:
    """Compiled models in one stream of ``threads`` threads."""

    def __init__(self, name: str, precision: str, device: Device, threads: int) -> None:
        self.name = name
        self._core = openvino.Core()
        self._options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "ENABLE_CPU_PINNING": False,  # which cores the process may use is settled before it starts
        }
        self._compilations = 0
        self._compiled: openvino.CompiledModel | None = None

    def load(self, artifact: Artifact) -> OpenVinoModel:
        """The network of ``artifact``; raises `ManifestInvalid` where weights might lie outside its file."""
        require_lone_file(artifact)
        network = self._core.read_model(artifact.model_path)
        side = artifact.manifest.resolution_px

        def request_for(images: int) -> openvino.InferRequest:
            fixed = network.clone()
            fixed.reshape([images, side, side, 3])
            self._compilations += 1
            self._compiled = self._core.compile_model(fixed, "CPU", self._options)
            return self._compiled.create_infer_request()

        return OpenVinoModel(request_for)

    def compilations(self) -> int:
        """One for each model and batch size that it met."""
        return self._compilations

    def describe(self) -> dict[str, str]:
        """As OpenVINO reports it of the last model compiled; before that, the wish."""
        facts = {"library": f"openvino {openvino.__version__}", "device": "CPU"}
        if self._compiled is None:
            return facts | {"threads": f"{self._options['INFERENCE_NUM_THREADS']} asked for"}
        return facts | {
            "device_name": str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
            "threads": str(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            "precision": str(self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()),
            "precision_of_layers": _precision_of_layers(self._compiled),
        }


def float32(device: Device, threads: int) -> OpenVinoRuntime:
    """All in float32."""
    return OpenVinoRuntime("openvino", "float32", device, threads)


def bfloat16(device: Device, threads: int) -> OpenVinoRuntime:
    """Convolutions in bfloat16 where the processor has instructions for it."""
    return OpenVinoRuntime("openvino-bf16", "bfloat16", device, threads)


def int8(device: Device, threads: int) -> OpenVinoRuntime:
    """Convolutions in eight bits, as the artifact's own scales say."""
    return OpenVinoRuntime("openvino-int8", "int8", device, threads)


def _precision_of_layers(compiled: openvino.CompiledModel) -> str:
    """What the layers with weights really compute in: ``Convolution u8, FullyConnected u8``."""
    layers = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops()]
    named = {(info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in layers}
    weighted = {"Convolution", "FullyConnected", "MatMul"}
    return ", ".join(f"{kind} {precision}" for kind, precision in sorted(named) if kind in weighted)
