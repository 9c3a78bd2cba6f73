"""Proof that artifacts give the reference's logits, by the runtime that will serve them.

python -m serving.inference.verify --runtime onnx --resolution 28 --artifacts DIR --output FILE
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.children import answer_parent, run_child, tell_parent
from contract.manifest import artifact_folder, load_artifact
from contract.parity import Parity, prove_parity
from contract.progress import Progress, part_of, silent
from serving.inference.devices import parse_device
from serving.runtimes import create_runtime, entry_of, tolerance_of
from serving.settings import DEFAULT_ARTIFACTS, ServiceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedArtifact:
    """An artifact whose files and logits were found right, and on what."""

    runtime: str
    resolution_px: int
    model: str
    format: str
    digest: str
    weights_digest: str
    parity: Parity
    runtime_facts: dict[str, str]


def verify_artifacts(settings: ServiceSettings, progress: Progress = silent) -> list[VerifiedArtifact]:
    """Every artifact of ``settings``, verified in this process; raises what is wrong with the first that is."""
    format_ = entry_of(settings.runtime).format
    if format_ is None:
        return []
    runtime = create_runtime(settings.runtime, parse_device(settings.device), settings.threads)
    sides = settings.resolutions_to_serve()
    verified = []
    for number, side in enumerate(sides):
        progress(f"verify {settings.runtime} at {side} px", number, len(sides))
        artifact = load_artifact(artifact_folder(settings.artifacts, format_, side))
        predict = runtime.load(artifact).predict
        parity = prove_parity(artifact.name, predict, artifact.golden(), tolerance_of(settings.runtime))
        verified.append(
            VerifiedArtifact(
                runtime=settings.runtime,
                resolution_px=side,
                model=artifact.manifest.model,
                format=format_,
                digest=artifact.digest,
                weights_digest=artifact.manifest.weights_digest,
                parity=parity,
                runtime_facts=runtime.describe(),
            )
        )
    return verified


def verify_all(
    runtimes: Sequence[str],
    resolutions_px: Iterable[int] = (),
    artifacts: Path = DEFAULT_ARTIFACTS,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> list[VerifiedArtifact]:
    """Every artifact of ``runtimes``, one process per runtime; no resolution given means all that are there.

    Raises `ParityError`, `DigestMismatch`, `ArtifactUnavailable`, `RuntimeUnavailable` or `DeviceUnavailable`.
    """
    sides = [argument for side in resolutions_px for argument in ("--resolution", str(side))]
    verified: list[VerifiedArtifact] = []
    for number, runtime in enumerate(runtimes):
        progress(f"verify {runtime}", number, len(runtimes))
        arguments = ["--runtime", runtime, "--device", device, "--artifacts", str(artifacts.absolute()), *sides]
        heard = part_of(progress, number, 1, len(runtimes))
        verified += run_child("serving.inference.verify", arguments, list[VerifiedArtifact], heard)
    progress("verified", len(runtimes), len(runtimes))
    return verified


def main() -> None:
    """The child process of `verify_all`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--resolution", type=int, action="append", default=[])
    parser.add_argument("--artifacts", type=Path, default=DEFAULT_ARTIFACTS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()

    def work() -> list[VerifiedArtifact]:
        settings = ServiceSettings(
            runtime=given.runtime,
            device=given.device,
            resolutions_px=tuple(given.resolution),
            artifacts=given.artifacts,
        )
        return verify_artifacts(settings, tell_parent)

    answer_parent(given.output, work)


if __name__ == "__main__":
    main()
