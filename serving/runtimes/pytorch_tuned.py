"""PyTorch at its best: the same ``torch.export`` program, run without its checks or compiled by Inductor.

Compiled on the machine that serves, at start-up: an artifact holds no machine code (see docs/decisions).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch._dynamo.utils import counters

from contract.manifest import Artifact
from serving.inference.devices import Device
from serving.runtimes.pytorch import PyTorchModel, PyTorchRuntime, program_on

Call = Callable[[torch.Tensor], torch.Tensor]
Prepare = Callable[[torch.nn.Module, torch.Tensor], Call]

FROZEN = {"freezing": True}  # weights become constants: batch norm is folded, kernels are packed once


class InBfloat16(torch.nn.Module):  # type: ignore[misc]  # PyTorch's types are not followed
    """Convolutions and products in bfloat16, the rest and the logits in float32."""

    def __init__(self, network: torch.nn.Module, device_type: str) -> None:
        super().__init__()
        self.network = network
        self.device_type = device_type

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of ``images``."""
        with torch.autocast(self.device_type, torch.bfloat16):
            logits: torch.Tensor = self.network(images)
        return logits.float()


class TunedPyTorchRuntime:
    """Programs made ready by ``prepare``, which builds so many ``libraries``; all else as in `PyTorchRuntime`."""

    def __init__(
        self,
        name: str,
        prepare: Prepare,
        device: Device,
        threads: int,
        *,
        bfloat16: bool = False,
        libraries: int = 0,
    ) -> None:
        self.name = name
        self._native = PyTorchRuntime(device, threads)
        self._device = torch.device(str(device))
        self._prepare = prepare
        self._bfloat16 = bfloat16
        self._libraries_each = libraries
        self._libraries = 0

    def load(self, artifact: Artifact) -> PyTorchModel:
        """The program of ``artifact``, compiled now or when it meets its first images."""
        # Without the guards, which check again at every call what the service has checked.
        network = program_on(self._device, artifact).module(check_guards=False)
        if self._bfloat16:
            network = InBfloat16(network, self._device.type)
        side = artifact.manifest.resolution_px
        call = self._prepare(network, torch.zeros(2, side, side, 3, device=self._device))
        self._libraries += self._libraries_each
        return PyTorchModel(call, self._device)

    def compilations(self) -> int:
        """Graphs that Dynamo compiled in this process, and libraries built ahead of time."""
        return int(counters["stats"]["unique_graphs"]) + self._libraries

    def describe(self) -> dict[str, str]:
        """As PyTorch reports it."""
        return self._native.describe() | {"precision": "bfloat16" if self._bfloat16 else "float32"}


def as_it_is(network: torch.nn.Module, example: torch.Tensor) -> Call:
    """Operator by operator; past ``__call__``, which checks each input against the exported one before every run."""
    call: Call = network.forward
    return call


def at_first_call(network: torch.nn.Module, example: torch.Tensor) -> Call:
    """``torch.compile``: one program for batch 1, and a second for every other size, when each is first met."""
    # The options for a card have not been run on one yet.
    options = FROZEN if example.device.type == "cpu" else {"triton.cudagraphs": True}
    compiled: Call = torch.compile(network, options=options)
    return compiled


def ahead_of_time(network: torch.nn.Module, example: torch.Tensor) -> Call:
    """AOTInductor: one library for all batch sizes, called without Dynamo, its guards and Python wrappers.

    Built here and nowhere else: the library is loaded from a folder that only this process has written to.
    """
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    with tempfile.TemporaryDirectory(prefix="hemabench-") as folder:
        package = str(Path(folder) / "model.pt2")
        torch._inductor.aoti_compile_and_package(program, package_path=package, inductor_configs=FROZEN)
        loaded: Call = torch._inductor.aoti_load_package(package)
    return loaded


def eager(device: Device, threads: int) -> TunedPyTorchRuntime:
    """Operator by operator, float32, in channels_last as the program was exported."""
    return TunedPyTorchRuntime("pytorch-eager", as_it_is, device, threads)


def compiled(device: Device, threads: int) -> TunedPyTorchRuntime:
    """``torch.compile``, float32; on a card with CUDA graphs."""
    return TunedPyTorchRuntime("pytorch-compile", at_first_call, device, threads)


def compiled_bfloat16(device: Device, threads: int) -> TunedPyTorchRuntime:
    """``torch.compile``, bfloat16; on a card with CUDA graphs."""
    return TunedPyTorchRuntime("pytorch-compile-bf16", at_first_call, device, threads, bfloat16=True)


def packaged(device: Device, threads: int) -> TunedPyTorchRuntime:
    """AOTInductor, float32."""
    return TunedPyTorchRuntime("pytorch-aot", ahead_of_time, device, threads, libraries=1)
