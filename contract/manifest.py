"""An artifact: one exported model and the manifest that vouches for it.

exported_models/artifacts/<format>/<resolution>px/
    manifest.json         written last: a folder without it is not an artifact
    golden.safetensors    images and reference logits
    distribution.safetensors    what the training images look like; only where the manifest has a threshold
    model.pt2 | saved_model/ | model.stablehlo | model.onnx
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path, PurePosixPath

from contract.blood_cells import LABELS
from contract.calibration import Distribution
from contract.errors import ArtifactUnavailable, DataCorrupt, DigestMismatch, ManifestInvalid
from contract.parity import GoldenBatch, Parity
from contract.storage import read_json, sha256_of_file, write_json

MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.safetensors"
DISTRIBUTION_FILE = "distribution.safetensors"
MANIFEST_VERSION = 1

# What each format's file or folder is called inside the artifact.
FORMATS = {
    "torch_export": "model.pt2",
    "saved_model": "saved_model",
    "stablehlo": "model.stablehlo",
    "onnx": "model.onnx",
    "onnx_int8": "model.onnx",
}
# The formats that no framework exports: each is made from the artifact of another, with images.
QUANTISED_FROM = {"onnx_int8": "onnx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One score with its 95 % interval, and the images it was measured on."""

    name: str
    value: float
    low: float
    high: float
    images: int
    data: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artifact is, where it came from, and the SHA-256 of its every file.

    Input is float32 (batch, resolution, resolution, 3) in [-1, 1] under ``input_name``;
    output is float32 logits (batch, classes) under ``output_name``. Probabilities are
    ``softmax(logits / temperature)``. An image further than ``distance_threshold`` from the
    distribution that lies beside the model is out of distribution; None: nothing tells.

    ``trained_on`` is the `DatasetFacts.description` of the data and split that the weights learnt from, the same at
    every resolution, and ``splits_sha256`` that of the splits: what is a test image elsewhere may be none here.
    """

    model: str
    spec_digest: str
    format: str
    resolution_px: int
    weights_digest: str
    trained_on: str
    files: dict[str, str]
    versions: dict[str, str]
    parity: Parity
    metrics: tuple[Metric, ...] = ()
    temperature: float = 1.0
    distance_threshold: float | None = None
    reproducible: str = "not checked"  # whether repeated training gives the same weights, in words
    labels: tuple[str, ...] = LABELS
    input_name: str = "images"
    output_name: str = "logits"
    splits_sha256: str = ""  # none in manifests from before it was kept
    manifest_version: int = MANIFEST_VERSION

    def __post_init__(self) -> None:
        if self.manifest_version != MANIFEST_VERSION:
            raise ManifestInvalid(
                f"manifest version {self.manifest_version}; this release reads {MANIFEST_VERSION}. "
                "Next: hemabench export --force"
            )
        if self.format not in FORMATS:
            raise ManifestInvalid(f"unknown format {self.format!r}; known: {', '.join(FORMATS)}")
        for name in ("temperature", "distance_threshold"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ManifestInvalid(f"{name} is {value}, not a finite number above 0")
        for path in self.files:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ManifestInvalid(f"file {path!r} points outside the artifact")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder whose every file has been checked against its manifest."""

    folder: Path
    manifest: Manifest
    digest: str = field(repr=False)

    @property
    def name(self) -> str:
        """How messages call it: ``hemanet/onnx/28px``."""
        return f"{self.manifest.model}/{self.manifest.format}/{self.manifest.resolution_px}px"

    @property
    def model_path(self) -> Path:
        """The file or folder that a runtime loads."""
        return self.folder / FORMATS[self.manifest.format]

    def golden(self) -> GoldenBatch:
        """The images and logits that parity is proved on."""
        return GoldenBatch.load(self.folder / GOLDEN_FILE)

    def distribution(self) -> Distribution | None:
        """What the training images look like; None for an artifact that has no threshold."""
        if self.manifest.distance_threshold is None:
            return None
        return Distribution.load(self.folder / DISTRIBUTION_FILE)


def artifact_folder(root: Path, format_: str, resolution_px: int) -> Path:
    """Where the artifact of that format and resolution lies under ``root``."""
    return root / format_ / f"{resolution_px}px"


def digests_of_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` but the manifest, by relative POSIX path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_FILE)
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}


def save_manifest(folder: Path, manifest: Manifest) -> Artifact:
    """Write the manifest, which turns ``folder`` into an artifact."""
    write_json(folder / MANIFEST_FILE, manifest)
    return load_artifact(folder)


def load_artifact(folder: Path) -> Artifact:
    """The artifact in ``folder``, every file checked before any parser opens it.

    Raises `ArtifactUnavailable` without a manifest, `ManifestInvalid` for an unreadable
    one, and `DigestMismatch` for a file that is missing, changed, not listed, or a link.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ArtifactUnavailable(f"no artifact in {folder}. Next: hemabench export")
    try:
        manifest = read_json(path, Manifest)
    except DataCorrupt as error:
        raise ManifestInvalid(str(error)) from error
    _require_unchanged(folder, manifest)
    return Artifact(folder, manifest, sha256_of_file(path))


def _require_unchanged(folder: Path, manifest: Manifest) -> None:
    if links := [path for path in folder.rglob("*") if path.is_symlink()]:
        raise DigestMismatch(
            f"{links[0]} is a link; an artifact holds plain files only. Next: hemabench export --force"
        )
    found = digests_of_files(folder)
    for path in sorted(found.keys() | manifest.files.keys()):
        if found.get(path) != manifest.files.get(path):
            reason = "is missing" if path not in found else "is not listed" if path not in manifest.files else "changed"
            raise DigestMismatch(
                f"{folder / path} {reason} since its manifest was written. Next: hemabench export --force"
            )
