"""Parity: the same logits within a tolerance, proved before anything is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors
from safetensors.numpy import load, save

from contract.arrays import FloatArray, ImageArray
from contract.errors import ManifestInvalid, ParityError
from contract.preprocessing import scale_pixels
from contract.storage import write_atomically

Predict = Callable[[FloatArray], FloatArray]
# What a runtime computes in, and a machine is measured in.
Precision = Literal["float32", "tf32", "bfloat16", "int8"]

# Batch 1 is what a service runs; 5 is no power of two and differs from any size traced at export.
PARITY_BATCHES = (1, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """A logit passes within ``absolute + relative * |reference|``, and a top class where it is the reference's.

    A class whose logit in the reference is within ``tie`` of the largest counts as a top class too: which of
    two that close wins is rounding. With ``classes_only`` the logits need only be numbers, and top classes are all
    that is compared.
    """

    absolute: float = 1e-4
    relative: float = 1e-4
    tie: float = 0.0
    classes_only: bool = False


# What the arithmetic itself may change; whether the accuracy bears it is another question.
# In bfloat16 OpenVINO and TensorFlow differ by up to 0.16 on hemanet's golden batch of 28 px; this is twice that.
TOLERANCES: dict[Precision, Tolerance] = {
    "float32": Tolerance(),
    # TensorFloat-32 keeps ten bits of each factor, bfloat16 seven: an eighth of what that may differ by.
    "tf32": Tolerance(absolute=0.04, relative=0.006, tie=0.04),
    "bfloat16": Tolerance(absolute=0.3, relative=0.05, tie=0.3),
    # Eight bits move logits by up to 1.4 on the same images, so they are not held to a tolerance: what an artifact in
    # int8 may lose is accuracy, measured on validation images before it is made (train/quantisation).
    "int8": Tolerance(absolute=0.0, relative=0.0, tie=1.0, classes_only=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """What a parity check found: the largest difference of any logit, over all batch sizes tried."""

    largest_difference: float
    images: int
    batches: tuple[int, ...]
    tolerance: Tolerance


@dataclass(frozen=True, slots=True)
class GoldenBatch:
    """Rendered images (n, side, side, 3) and the float64 reference network's logits for them (n, classes)."""

    images: ImageArray
    logits: FloatArray

    def save(self, path: Path) -> None:
        """Write both arrays to one safetensors file, atomically."""
        write_atomically(path, save({"images": self.images, "logits": self.logits}))

    @classmethod
    def load(cls, path: Path) -> GoldenBatch:
        """Read what `save` wrote; raises `ManifestInvalid`."""
        try:
            arrays = load(path.read_bytes())
            golden = cls(arrays["images"], arrays["logits"])
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise ManifestInvalid(f"{path}: no golden batch: {error}. Next: hemabench export") from error
        images, logits = golden.images, golden.logits
        belong = images.ndim == 4 and logits.ndim == 2 and len(images) == len(logits) > 0
        if images.dtype != np.uint8 or not belong or not np.isfinite(logits).all():
            raise ManifestInvalid(f"{path}: images and logits do not belong together. Next: hemabench export")
        return golden


def require_parity(artifact: str, logits: FloatArray, reference: FloatArray, tolerance: Tolerance) -> float:
    """The largest difference of a logit; raises `ParityError` beyond ``tolerance`` or where a top class differs."""
    if logits.shape != reference.shape:
        raise ParityError(f"{artifact}: logits have shape {logits.shape}, the reference {reference.shape}")
    difference = np.abs(logits - reference)
    allowed = tolerance.absolute + tolerance.relative * np.abs(reference)
    within = np.isfinite(logits) if tolerance.classes_only else difference <= allowed  # false for NaN, as it must be
    chosen = np.take_along_axis(reference, logits.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
    same_top = chosen >= reference.max(axis=1) - tolerance.tie
    if within.all() and same_top.all():
        return float(difference.max())
    # The worst logit; where all are within the tolerance, the largest difference in an image whose top class differs.
    suspects = ~within if not within.all() else ~same_top[:, np.newaxis]
    image, label = np.unravel_index(
        np.where(suspects, np.nan_to_num(difference, nan=np.inf), -np.inf).argmax(), within.shape
    )
    raise ParityError(
        f"{artifact}: logit {label} of golden image {image} is {logits[image, label]:.6g}; the reference is "
        f"{reference[image, label]:.6g} ± {allowed[image, label]:.2g} ({(~within).sum()} of {within.size} logits are "
        f"off, {(~same_top).sum()} top classes differ). Next: hemabench export --force"
    )


def prove_parity(artifact: str, predict: Predict, golden: GoldenBatch, tolerance: Tolerance | None = None) -> Parity:
    """Run all golden images at every size of `PARITY_BATCHES`; raises `ParityError`."""
    tolerance = tolerance or Tolerance()
    inputs = scale_pixels(golden.images)
    largest = 0.0
    for batch in PARITY_BATCHES:
        logits = np.concatenate([predict(inputs[start : start + batch]) for start in range(0, len(inputs), batch)])
        largest = max(largest, require_parity(f"{artifact} at batch {batch}", logits, golden.logits, tolerance))
    return Parity(largest_difference=largest, images=len(inputs), batches=PARITY_BATCHES, tolerance=tolerance)
