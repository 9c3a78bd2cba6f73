"""What a card draws from its supply, by its own counter."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from serving.inference.devices import bus_address, parse_device

# The counter moves every 20 to 100 ms: over less it says little.
SHORTEST_NS = 100_000_000


def energy_counter(device: str) -> Callable[[], int] | None:
    """Reads millijoules since the driver was loaded.

    None without a card, without NVIDIA's binding (the extra ``gpu`` has it), and where the driver does not count.
    """
    card = parse_device(device)
    if not card.is_cuda or find_spec("pynvml") is None:
        return None
    nvml = import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByPciBusId(bus_address(card))
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return None
    return lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
