"""ONNX Runtime."""

from __future__ import annotations

import onnxruntime

from contract.arrays import FloatArray
from contract.errors import DeviceUnavailable
from contract.manifest import Artifact
from serving.inference.devices import NEXT_BUILD, Device, name_of_card
from serving.runtimes.base import require_lone_file


class OnnxModel:
    """One session."""

    def __init__(self, session: onnxruntime.InferenceSession, input_name: str, output_name: str) -> None:
        self._run = session.run
        self._input = input_name
        self._outputs = [output_name]

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes); ``run`` returns when they are in host memory."""
        logits: FloatArray = self._run(self._outputs, {self._input: images})[0]
        return logits


class OnnxRuntime:
    """Sessions with ``threads`` threads inside an operator and one operator at a time."""

    def __init__(self, device: Device, threads: int, name: str = "onnx") -> None:
        self.name = name
        if device.is_cuda:
            onnxruntime.preload_dlls()  # CUDA's libraries come as Python packages and are on no search path
        self._device = device
        self._threads = threads
        self._providers: list[str] = []

    def load(self, artifact: Artifact) -> OnnxModel:
        """A session on the device; raises `DeviceUnavailable` where ONNX Runtime would quietly take the CPU.

        Weights are in the one file: ONNX Runtime itself refuses those outside the folder,
        and `ManifestInvalid` is raised where anything else lies in it.
        """
        manifest = artifact.manifest
        require_lone_file(artifact)
        session = onnxruntime.InferenceSession(
            str(artifact.model_path), self._options(), providers=self._wanted_providers()
        )
        self._providers = session.get_providers()
        if self._device.is_cuda and self._providers[0] != "CUDAExecutionProvider":
            raise DeviceUnavailable(
                f"{self._device} was asked for; ONNX Runtime {onnxruntime.__version__} took {self._providers[0]}. "
                + NEXT_BUILD
            )
        session.disable_fallback()  # a call that fails on a card would be made again, and all others, on the CPU
        return OnnxModel(session, manifest.input_name, manifest.output_name)

    def compilations(self) -> int:
        """None: a session interprets its graph, whatever the batch size."""
        return 0

    def describe(self) -> dict[str, str]:
        """Providers of the last session; before that, the wish."""
        facts = {
            "library": f"onnxruntime {onnxruntime.__version__}",
            "device": str(self._device),
            "providers": ", ".join(self._providers or ["no session yet"]),
            "threads": str(self._threads),
        }
        return facts | {"device_name": name_of_card(self._device)} if self._device.is_cuda else facts

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors
        return options

    def _wanted_providers(self) -> list[str | tuple[str, dict[str, str]]]:
        if not self._device.is_cuda:
            return ["CPUExecutionProvider"]
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise DeviceUnavailable(
                f"{self._device} was asked for; this build of ONNX Runtime has no CUDA provider. " + NEXT_BUILD
            )
        cuda = {
            "device_id": str(self._device.index),
            "use_tf32": "0",
            "arena_extend_strategy": "kSameAsRequested",  # grow by what is needed, not to the next power of two
        }
        return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def int8(device: Device, threads: int) -> OnnxRuntime:
    """The same with a network in int8, which ONNX Runtime computes in eight bits on the processor alone."""
    return OnnxRuntime(device, threads, "onnx-int8")
