"""PyTorch at its best: the same ``torch.export`` program, run without its checks or compiled by Inductor.

Compiled on the machine that serves, at start-up: an artifact holds no machine code (see docs/decisions).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.utils import counters
from torch._inductor.package import AOTICompiledModel

from contract.manifest import Artifact
from serving.inference.devices import Device
from serving.runtimes.pytorch import PyTorchModel, PyTorchRuntime, program_on

Call = Callable[[torch.Tensor], torch.Tensor]
Prepare = Callable[[torch.nn.Module, torch.Tensor], Call]

# Frozen weights are constants: batch norm is folded, and each convolution's weights are packed for oneDNN once, whose
# calls cost more than that saves where PyTorch itself does without it: at batch 1, for inputs of up to 20,480 numbers
# (use_mkldnn in ATen's Convolution.cpp). Of this side, no convolution of HemaNet's has a larger one (16 channels).
# Measured: at 28 px frozen programs are the slower ones, at 64 and 224 px the faster.
SMALL_PX = 35


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


class CompiledWhenMet:
    """``call``, compiled by Inductor when each batch size is first met, with ``frozen`` weights or as they are.

    Dynamo asks the process's configuration whether weights are constants, before any option of `torch.compile` is
    looked at; so the configuration is set, and only while something may be compiled.
    """

    def __init__(self, call: Call, *, frozen: bool) -> None:
        self._call = call
        self._frozen = frozen
        self._met: set[int] = set()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of ``images``, asked for without gradients: Inductor freezes nothing else."""
        if len(images) in self._met:
            return self._call(images)
        with torch._inductor.config.patch(freezing=self._frozen):
            logits = self._call(images)
        self._met.add(len(images))
        return logits


class TunedPyTorchRuntime:
    """Programs made ready by ``prepare``; all else as in `PyTorchRuntime`."""

    def __init__(
        self,
        name: str,
        prepare: Prepare,
        device: Device,
        threads: int,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.name = name
        self._native = PyTorchRuntime(device, threads)
        self._device = torch.device(str(device))
        self._prepare = prepare
        self._bfloat16 = bfloat16

    def load(self, artifact: Artifact) -> PyTorchModel:
        """The program of ``artifact``, compiled now or when it meets its first images."""
        # Without the guards, which check again at every call what the service has checked.
        network = program_on(self._device, artifact).module(check_guards=False)
        if self._bfloat16:
            network = InBfloat16(network, self._device.type)
        side = artifact.manifest.resolution_px
        example = torch.zeros(2, side, side, 3, device=self._device)
        return PyTorchModel(self._prepare(network, example), self._device)

    def compilations(self) -> int:
        """Graphs that Dynamo compiled in this process, and libraries that `library` built."""
        return int(counters["stats"]["unique_graphs"] + counters[__name__]["libraries"])

    def describe(self) -> dict[str, str]:
        """As PyTorch reports it."""
        return self._native.describe() | {"precision": "bfloat16" if self._bfloat16 else "float32"}


def as_it_is(network: torch.nn.Module, example: torch.Tensor) -> Call:
    """Operator by operator; past ``__call__``, which checks each input against the exported one before every run."""
    call: Call = network.forward
    return call


def at_first_call(network: torch.nn.Module, example: torch.Tensor) -> Call:
    """``torch.compile``: one program for batch 1, and a second for every other size, when each is first met."""
    on_processor = example.device.type == "cpu"
    # The options for a card have not been run on one yet.
    compiled: Call = torch.compile(network, options={} if on_processor else {"triton.cudagraphs": True})
    # In bfloat16 at any size: weights are no longer cast at every call, and oneDNN convolves whether packed or not.
    pays = is_large(example) or isinstance(network, InBfloat16)
    return CompiledWhenMet(compiled, frozen=on_processor and pays)


def ahead_of_time(network: torch.nn.Module, example: torch.Tensor) -> Call:
    """AOTInductor, called without Dynamo, its guards and Python wrappers: one library for all batch sizes.

    Two for large images: weights packed for exactly one save 6 % of the CPU time at 224 px, for any number of them 2 %.
    """
    if not is_large(example):
        call: Call = library(network, example, ({0: torch.export.Dim.DYNAMIC},), frozen=False)
        return call
    one, several = one_and_several(network, example)
    return lambda images: one(images) if len(images) == 1 else several(images)


def is_large(images: torch.Tensor) -> bool:
    """Whether one of ``images`` is so large that freezing pays in float32."""
    return int(images.shape[1]) > SMALL_PX


def one_and_several(network: torch.nn.Module, example: torch.Tensor) -> tuple[AOTICompiledModel, AOTICompiledModel]:
    """A library for a single image, frozen where it is large, and one for every other batch size."""
    one = library(network, example[:1], None, frozen=is_large(example))
    # Of several images PyTorch gives every convolution to oneDNN, however small: better with weights packed once.
    several = library(network, example, ({0: torch.export.Dim("images", min=2)},), frozen=True)
    return one, several


def library(network: torch.nn.Module, example: torch.Tensor, shapes: Any, *, frozen: bool) -> AOTICompiledModel:
    """AOTInductor's library of ``network``, built here and loaded from a folder that only this process has written to.

    ``shapes`` are `torch.export`'s ``dynamic_shapes``.
    """
    # Inductor freezes weights only where no gradient can be asked for, and says nothing where one can.
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="hemabench-") as folder:
        program = torch.export.export(network, (example,), dynamic_shapes=shapes)
        package = str(Path(folder) / "model.pt2")
        torch._inductor.aoti_compile_and_package(program, package_path=package, inductor_configs={"freezing": frozen})
        loaded = torch._inductor.aoti_load_package(package)
    counters[__name__]["libraries"] += 1
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
    return TunedPyTorchRuntime("pytorch-aot", ahead_of_time, device, threads)
