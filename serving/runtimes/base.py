"""What a runtime is: it loads artifacts of one format and predicts."""

from __future__ import annotations

from typing import Protocol

from contract.arrays import FloatArray
from contract.errors import ManifestInvalid
from contract.manifest import DISTRIBUTION_FILE, FORMATS, GOLDEN_FILE, Artifact


class LoadedModel(Protocol):
    """One artifact, ready to predict."""

    def predict(self, images: FloatArray) -> FloatArray:
        """Logits (n, classes) of ``images`` (n, side, side, 3) in [-1, 1], both in host memory.

        Returns when the logits are there to be read, not when the work has been queued:
        stopping a clock after the call measures the same thing for every runtime.
        """
        ...


class Runtime(Protocol):
    """One framework's way to run artifacts, on one device, with one number of threads."""

    name: str

    def load(self, artifact: Artifact) -> LoadedModel:
        """The model of ``artifact``, whose digests have been checked."""
        ...

    def compilations(self) -> int:
        """How many programs this process has compiled so far; while requests are answered it must not grow."""
        ...

    def describe(self) -> dict[str, str]:
        """What really runs where: library version, device, threads; read from the framework, not from the settings."""
        ...


def require_lone_file(artifact: Artifact) -> None:
    """Raise `ManifestInvalid` where anything lies beside the model that is none of the artifact's own files."""
    known = {GOLDEN_FILE, DISTRIBUTION_FILE, FORMATS[artifact.manifest.format]}
    if others := artifact.manifest.files.keys() - known:
        raise ManifestInvalid(
            f"{artifact.name} has {min(others)!r} beside the model, as weights outside it would be. "
            "Next: hemabench export --force"
        )
