"""Where a measurement was made."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "torch",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "bentoml",
    "starlette",
    "uvicorn",
    "locust",
    "gevent",
    "medmnist",
    "numpy",
    "pillow",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the software, as far as they move a number."""

    cpu_model: str
    cores: int
    memory_bytes: int
    accelerator: str | None
    governor: str | None
    system: str
    python: str
    libraries: dict[str, str]


def describe_environment() -> Environment:
    """This machine, now. Imports no framework: versions come from package metadata."""
    return Environment(
        cpu_model=_field_of("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerator=_accelerator(),
        governor=_text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        libraries=versions_of(LIBRARIES),
    )


def versions_of(packages: tuple[str, ...]) -> dict[str, str]:
    """Installed versions; packages that are not installed are left out."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _accelerator() -> str | None:
    """The NVIDIA driver's own name for the first GPU."""
    for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        return _field_of(str(card), "Model")
    return None


def _field_of(path: str, name: str) -> str | None:
    for line in (_text_of(path) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _text_of(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
