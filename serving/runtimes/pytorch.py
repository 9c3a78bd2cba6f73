"""PyTorch: a ``torch.export`` program, run without the code that built it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.export.passes import move_to_device_pass

from contract.arrays import FloatArray
from contract.errors import DeviceUnavailable
from contract.manifest import Artifact
from serving.inference.devices import NEXT_BUILD, Device


class PyTorchModel:
    """One exported program, as a module or whatever else takes a tensor and gives one."""

    def __init__(self, module: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> None:
        self._module = module
        self._device = device

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes); copying them to the host waits for the device."""
        with torch.inference_mode():
            logits: FloatArray = self._module(torch.from_numpy(images).to(self._device)).cpu().numpy()
        return logits


def program_on(device: torch.device, artifact: Artifact) -> torch.export.ExportedProgram:
    """The program of ``artifact``, its weights on ``device``."""
    program = torch.export.load(str(artifact.model_path))
    return program if device.type == "cpu" else move_to_device_pass(program, device)


class PyTorchRuntime:
    """Exported programs on one device, with ``threads`` threads inside an operator."""

    name = "pytorch"

    def __init__(self, device: Device, threads: int) -> None:
        # PyTorch counts the driver's cards, also those of a driver that is too old for its build of CUDA.
        cards = torch.cuda.device_count() if device.is_cuda and torch.cuda.is_available() else 0
        if device.is_cuda and device.index >= cards:
            raise DeviceUnavailable(
                f"{device} was asked for; PyTorch {torch.__version__} can use {cards} card(s). " + NEXT_BUILD
            )
        self._device = torch.device(str(device))
        torch.set_num_threads(threads)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def load(self, artifact: Artifact) -> PyTorchModel:
        """The program of ``artifact``, moved to the device."""
        return PyTorchModel(program_on(self._device, artifact).module(), self._device)

    def compilations(self) -> int:
        """None: an exported program is run operator by operator, whatever the batch size."""
        return 0

    def describe(self) -> dict[str, str]:
        """As PyTorch reports it."""
        facts = {
            "library": f"torch {torch.__version__}",
            "device": str(self._device),
            "threads": str(torch.get_num_threads()),
        }
        if self._device.type == "cuda":
            facts["device_name"] = torch.cuda.get_device_name(self._device)
            facts["device_memory_bytes"] = str(torch.cuda.memory_reserved(self._device))
        return facts
