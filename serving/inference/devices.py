"""What a model runs on, and whether it is there: asked of the driver, before any framework is imported."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import Literal

from contract.errors import DeviceUnavailable, InvalidSettings

DeviceKind = Literal["cpu", "cuda"]
# In an environment of its own: pip takes a CPU build for the one that is asked for, where there is one.
NEXT_BUILD = "Next: make install DEVICE=cuda VENV=.venv-gpu, or --device cpu"


@dataclass(frozen=True, slots=True)
class Device:
    """``cpu``, or the ``index``-th card that the CUDA driver shows."""

    kind: DeviceKind = "cpu"
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"cuda:{self.index}"

    @property
    def is_cuda(self) -> bool:
        """Whether a GPU is meant."""
        return self.kind == "cuda"


CPU = Device()


def parse_device(text: str) -> Device:
    """``cpu``, ``cuda`` or ``cuda:N`` as a `Device`; raises `InvalidSettings`."""
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", text)
    if match is None:
        raise InvalidSettings(f"device {text!r} is not one of: cpu, cuda, cuda:N")
    return CPU if text == "cpu" else Device("cuda", int(match[1] or 0))


def require_device(device: Device) -> None:
    """Raise `DeviceUnavailable` unless the machine has ``device``. A runtime checks again what its framework sees."""
    if device.is_cuda and device.index >= (cards := count_cuda_cards()):
        raise DeviceUnavailable(
            f"device {device} was asked for; the CUDA driver of this machine shows {cards} card(s). "
            "Next: --device cpu, or check nvidia-smi and CUDA_VISIBLE_DEVICES"
        )


def name_of_card(device: Device) -> str:
    """What the CUDA driver calls the card, for a framework that does not say."""
    driver = ctypes.CDLL("libcuda.so.1")
    card, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(card), device.index) == 0
    if not found or driver.cuDeviceGetName(name, len(name), card) != 0:
        return "unknown to the driver"
    return name.value.decode(errors="replace")


def bus_address(device: Device) -> str:
    """Where on the PCI bus the card sits, such as ``0000:3b:00.0``; its number may be another for other libraries.

    Raises `DeviceUnavailable` where the driver does not say.
    """
    driver = ctypes.CDLL("libcuda.so.1")
    card, address = ctypes.c_int(0), ctypes.create_string_buffer(32)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(card), device.index) == 0
    if not found or driver.cuDeviceGetPCIBusId(address, len(address), card) != 0:
        raise DeviceUnavailable(f"the CUDA driver does not say where {device} is. Next: check nvidia-smi")
    return address.value.decode()


def count_cuda_cards() -> int:
    """Cards that the CUDA driver shows to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
