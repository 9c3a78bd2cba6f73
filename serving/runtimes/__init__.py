"""The runtimes there are. A new one is a sibling file and a line in `RUNTIMES`.

The closed division is each framework's own artifact as it comes; the open one is what people
who know the framework make of the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, cast

from contract.errors import DeviceUnavailable, InvalidSettings, RuntimeUnavailable
from contract.parity import TOLERANCES, Precision, Tolerance
from serving.inference.devices import CPU, Device, DeviceKind, require_device
from serving.runtimes.base import Runtime

Division = Literal["closed", "open", "none"]
ANYWHERE: tuple[DeviceKind, ...] = ("cpu", "cuda")
PROCESSOR: tuple[DeviceKind, ...] = ("cpu",)
CARD: tuple[DeviceKind, ...] = ("cuda",)
NO_TF32 = "NVIDIA_TF32_OVERRIDE"


@dataclass(frozen=True, slots=True)
class RuntimeEntry:
    """Where a runtime is, which format it loads, which module comes with which extra, and what it may be compared with.

    ``format`` is None for a runtime that loads nothing; ``division`` is "none" for one that computes nothing.
    ``devices`` are the kinds that it is made for, the likeliest first.
    """

    location: str
    format: str | None
    module: str
    extra: str
    division: Division = "open"
    precision: Precision = "float32"
    devices: tuple[DeviceKind, ...] = ANYWHERE


def _pytorch(
    location: str, precision: Precision = "float32", *, devices: tuple[DeviceKind, ...] = ANYWHERE
) -> RuntimeEntry:
    place = f"serving.runtimes.{location}"
    return RuntimeEntry(place, "torch_export", "torch", "pytorch", precision=precision, devices=devices)


def _tensorflow(function: str, precision: Precision = "float32") -> RuntimeEntry:
    place = f"serving.runtimes.tensorflow_tuned:{function}"
    return RuntimeEntry(place, "saved_model", "tensorflow", "tensorflow", precision=precision, devices=PROCESSOR)


def _openvino(precision: Precision, format_: str) -> RuntimeEntry:
    place = f"serving.runtimes.openvino:{precision}"
    return RuntimeEntry(place, format_, "openvino", "openvino", precision=precision, devices=PROCESSOR)


RUNTIMES = {
    "pytorch": RuntimeEntry("serving.runtimes.pytorch:PyTorchRuntime", "torch_export", "torch", "pytorch", "closed"),
    "tensorflow": RuntimeEntry(
        "serving.runtimes.tensorflow:TensorFlowRuntime", "saved_model", "tensorflow", "tensorflow", "closed"
    ),
    "jax": RuntimeEntry("serving.runtimes.jax:JaxRuntime", "stablehlo", "jax", "jax", "closed"),
    "onnx": RuntimeEntry("serving.runtimes.onnx:OnnxRuntime", "onnx", "onnxruntime", "onnx", "closed"),
    "pytorch-eager": _pytorch("pytorch_tuned:eager"),
    "pytorch-aot": _pytorch("pytorch_tuned:packaged", devices=PROCESSOR),
    "pytorch-winograd": _pytorch("pytorch_winograd:winograd", devices=PROCESSOR),
    "pytorch-compile": _pytorch("pytorch_tuned:compiled"),
    "pytorch-compile-bf16": _pytorch("pytorch_tuned:compiled_bfloat16", "bfloat16"),
    "pytorch-graphs": _pytorch("pytorch_cuda:graphs", devices=CARD),
    "pytorch-graphs-tf32": _pytorch("pytorch_cuda:graphs_in_tf32", "tf32", devices=CARD),
    "tensorflow-graph": _tensorflow("graph"),
    "tensorflow-graph-bf16": _tensorflow("graph_bfloat16", "bfloat16"),
    "tensorflow-xla": _tensorflow("xla"),
    "tensorflow-winograd": _tensorflow("winograd"),
    "tensorflow-lite": RuntimeEntry(
        "serving.runtimes.tensorflow_lite:LiteRuntime", "saved_model", "ai_edge_litert", "litert", devices=PROCESSOR
    ),
    "jax-winograd": RuntimeEntry(
        "serving.runtimes.jax_tuned:TunedJaxRuntime", "stablehlo", "jax", "jax", devices=PROCESSOR
    ),
    "openvino": _openvino("float32", "onnx"),
    "openvino-bf16": _openvino("bfloat16", "onnx"),
    "onnx-int8": RuntimeEntry(
        "serving.runtimes.onnx:int8", "onnx_int8", "onnxruntime", "onnx", precision="int8", devices=PROCESSOR
    ),
    "openvino-int8": _openvino("int8", "onnx_int8"),
    "null": RuntimeEntry("serving.runtimes.null:NullRuntime", None, "numpy", "serving", "none", devices=PROCESSOR),
}


def entry_of(name: str) -> RuntimeEntry:
    """The table's line for ``name``; `InvalidSettings` names the ones there are."""
    if name not in RUNTIMES:
        raise InvalidSettings(f"no runtime is called {name!r}; choose one of: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def formats_of(runtimes: Iterable[str]) -> dict[str, str]:
    """The artifact format that each of ``runtimes`` loads; the ones that load nothing are left out."""
    return {name: format_ for name in runtimes if (format_ := entry_of(name).format) is not None}


def tolerance_of(name: str) -> Tolerance:
    """How far the logits of the runtime ``name`` may be from the reference's."""
    return TOLERANCES[entry_of(name).precision]


def require_runtime(name: str) -> None:
    """Raise `RuntimeUnavailable`, with the command that helps, unless the packages of ``name`` are installed."""
    entry = entry_of(name)
    if find_spec(entry.module) is None:
        raise RuntimeUnavailable(_install_line(name, entry.module))


def require_made_for(name: str, device: Device) -> None:
    """Raise `DeviceUnavailable` unless the runtime ``name`` is made for such a device."""
    devices = entry_of(name).devices
    if device.kind not in devices:
        made_for = "the processor" if devices == PROCESSOR else "a card"
        raise DeviceUnavailable(f"{device} was asked for; {name} is made for {made_for}. Next: --device {devices[0]}")


def create_runtime(name: str, device: Device = CPU, threads: int = 1) -> Runtime:
    """The runtime called ``name``; its framework is imported only now, with its thread pools already pinned.

    Raises `RuntimeUnavailable` and `DeviceUnavailable`; a GPU that is not there never turns into a CPU.
    """
    require_runtime(name)
    require_made_for(name, device)
    require_device(device)
    pin_environment(name, threads)
    module, class_name = entry_of(name).location.split(":")
    try:
        runtime = getattr(import_module(module), class_name)(device, threads)
    except ModuleNotFoundError as missing:
        raise RuntimeUnavailable(_install_line(name, str(missing.name))) from missing
    return cast(Runtime, runtime)


def pin_environment(name: str, threads: int) -> None:
    """Set the variables of `pinned_environment` here, before the framework of ``name`` is imported."""
    os.environ.update(pinned_environment(threads))
    if entry_of(name).precision == "tf32":
        del os.environ[NO_TF32]  # read when a framework first opens the card


def pinned_environment(threads: int) -> dict[str, str]:
    """Variables that a framework reads while it is imported, so that all of them get the same threads.

    Each runtime sets its own pool again through the framework; these reach the pools
    that have no other handle (OpenMP's in threads that come later, XLA's on the CPU).
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "NPROC": str(threads),  # XLA's CPU client sizes its pool by it, and by nothing else that can be set
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # take GPU memory as needed: services share a card
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        NO_TF32: "0",  # float32 means float32, in every framework
    }


def _install_line(name: str, module: str) -> str:
    extra = entry_of(name).extra
    return (
        f"runtime {name!r} needs the package {module!r}, which is not installed. "
        f"Next: pip install -c constraints.txt -e '.[{extra}]'"
    )
