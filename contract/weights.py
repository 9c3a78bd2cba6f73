"""Named arrays in one canonical order and layout, stored as safetensors.

Kernels are (height, width, in, out), the layout of Keras and Flax; PyTorch's code
transposes at its own border.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save

from contract.architecture import ModelSpec
from contract.arrays import FloatArray
from contract.errors import WeightsMismatch
from contract.storage import write_atomically

Weights = dict[str, FloatArray]


def require_fit(weights: Mapping[str, FloatArray], spec: ModelSpec, where: str) -> None:
    """Raise `WeightsMismatch` unless ``weights`` are exactly the float32 arrays of ``spec``, all finite."""
    shapes = spec.parameter_shapes()
    if missing := sorted(shapes.keys() - weights.keys()):
        raise WeightsMismatch(f"{where}: {spec.name} needs {missing[0]!r}, which is not there ({len(missing)} missing)")
    if unknown := sorted(weights.keys() - shapes.keys()):
        raise WeightsMismatch(f"{where}: {spec.name} has no array {unknown[0]!r} ({len(unknown)} unknown)")
    for name, shape in shapes.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float32:
            raise WeightsMismatch(
                f"{where}: {name} is {array.dtype}{list(array.shape)}; {spec.name} needs float32{list(shape)}"
            )
        if not np.isfinite(array).all():
            raise WeightsMismatch(f"{where}: {name} holds NaN or infinity")


def save_weights(path: Path, weights: Mapping[str, FloatArray], spec: ModelSpec, facts: Mapping[str, object]) -> None:
    """Write ``weights`` in canonical order, with ``facts`` (JSON values) in the file's header."""
    require_fit(weights, spec, str(path))
    ordered = {name: np.ascontiguousarray(weights[name]) for name in spec.parameter_shapes()}
    header = {"spec": spec.name, "spec_digest": spec.digest, "facts": json.dumps(facts, sort_keys=True)}
    write_atomically(path, _with_ordered_metadata(save(ordered, metadata=header)))


def _with_ordered_metadata(content: bytes) -> bytes:
    """``content`` with its metadata sorted: safetensors writes them in another order every time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[end:]


def load_weights(path: Path, spec: ModelSpec) -> Weights:
    """The arrays in ``path``, checked against ``spec``; raises `WeightsMismatch`."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, safetensors.SafetensorError, TypeError) as error:  # TypeError: NumPy has no bfloat16
        raise WeightsMismatch(f"{path}: not readable as safetensors: {error}") from error
    require_fit(weights, spec, str(path))
    return {name: weights[name] for name in spec.parameter_shapes()}


def load_facts(path: Path) -> dict[str, object]:
    """What `save_weights` wrote beside the arrays; empty for a file that holds none."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsMismatch(f"{path}: not readable as safetensors: {error}") from error
    try:
        facts = json.loads(metadata.get("facts", "{}"))
    except json.JSONDecodeError as error:
        raise WeightsMismatch(f"{path}: its facts are not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise WeightsMismatch(f"{path}: its facts are not a JSON object")
    return facts


def digest_of_weights(weights: Mapping[str, FloatArray]) -> str:
    """SHA-256 over names, shapes and values, whatever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name}{weights[name].shape}".encode())
        digest.update(np.ascontiguousarray(weights[name], dtype="<f4").tobytes())
    return digest.hexdigest()
