"""What a run says of the artifacts that it measures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from contract.errors import InvalidSettings
from contract.manifest import artifact_folder, load_artifact
from contract.records.load import ArtifactFacts


def artifact_facts(artifacts: Path, runtime: str, format_: str, resolution_px: int) -> ArtifactFacts:
    """Of the artifact below ``artifacts`` that ``runtime`` loads, checked; raises what `load_artifact` raises."""
    artifact = load_artifact(artifact_folder(artifacts, format_, resolution_px))
    manifest = artifact.manifest
    return ArtifactFacts(
        runtime=runtime,
        resolution_px=resolution_px,
        model=manifest.model,
        format=manifest.format,
        digest=artifact.digest,
        weights_digest=manifest.weights_digest,
        parity_largest_difference=manifest.parity.largest_difference,
        parity_images=manifest.parity.images,
    )


def same_weights(artifacts: Iterable[ArtifactFacts]) -> tuple[ArtifactFacts, ...]:
    """``artifacts``, all of one resolution with the same weights; raises `InvalidSettings` where they are not."""
    facts = tuple(artifacts)
    first = {one.resolution_px: one for one in reversed(facts)}
    for one in facts:
        if one.weights_digest != first[one.resolution_px].weights_digest:
            raise InvalidSettings(
                f"{one.runtime} and {first[one.resolution_px].runtime} hold different weights at "
                f"{one.resolution_px} px, so their times and answers are not of one network. Next: hemabench export"
            )
    return facts
