"""Trained weights -> one artifact per format and resolution, each proved against the reference before it counts.

Every framework works in a process of its own (``python -m train.export``); the parent
only starts them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from contract.blood_cells import RESOLUTIONS_PX
from contract.children import interrupted_once, stop_child
from contract.environment import versions_of
from contract.errors import ArtifactUnavailable, ExportFailed, HemaBenchError, InvalidSettings, ManifestInvalid, why_not
from contract.manifest import (
    DISTRIBUTION_FILE,
    FORMATS,
    GOLDEN_FILE,
    QUANTISED_FROM,
    Artifact,
    Manifest,
    artifact_folder,
    digests_of_files,
    load_artifact,
    save_manifest,
)
from contract.parity import GoldenBatch, Parity, prove_parity
from contract.preprocessing import scale_pixels
from contract.progress import Progress
from contract.reference import reference_logits
from contract.storage import require_room
from contract.weights import digest_of_weights
from train.checkpoints import Checkpoint, checkpoint_path, load_checkpoint
from train.frameworks import FRAMEWORKS, load_framework
from train.scratch import built_for, replace_folder, sweep
from train.sources.synthetic import render_cells

GOLDEN_IMAGES = 16
GOLDEN_SEED = 2020
# A card may round factors to TensorFloat-32, and would be held to a proof in float32: frameworks are shown none.
ON_THE_PROCESSOR = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
ROOM_BYTES = 50_000_000  # of all artifacts of the four resolutions, with what is half built


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What to export, from where, to where. ``force`` replaces artifacts that are still current."""

    model: str = "hemanet"
    resolutions_px: tuple[int, ...] = RESOLUTIONS_PX
    formats: tuple[str, ...] = tuple(FORMATS)
    checkpoints: Path = Path("exported_models/checkpoints")
    artifacts: Path = Path("exported_models/artifacts")
    force: bool = False

    def __post_init__(self) -> None:
        if unknown := [name for name in self.formats if name not in FORMATS]:
            raise InvalidSettings(f"no format is called {unknown[0]!r}; choose from: {', '.join(FORMATS)}")

    @property
    def native_formats(self) -> tuple[str, ...]:
        """The formats that frameworks export: those asked for, and those that quantised ones are made from."""
        wanted = {QUANTISED_FROM.get(format_, format_) for format_ in self.formats}
        return tuple(format_ for format_ in FORMATS if format_ in wanted)

    @property
    def quantised_formats(self) -> tuple[str, ...]:
        """The formats asked for that `train.quantisation` makes."""
        return tuple(format_ for format_ in self.formats if format_ in QUANTISED_FROM)


@dataclass(frozen=True, slots=True)
class Job:
    """One artifact to make; written ``onnx:28``."""

    format: str
    resolution_px: int

    @classmethod
    def parse(cls, text: str) -> Job:
        """The job that ``text`` names; raises ``ValueError``."""
        format_, _, resolution_px = text.partition(":")
        return cls(format_, int(resolution_px))

    def __str__(self) -> str:
        return f"{self.format}:{self.resolution_px}"


def export_all(settings: ExportSettings, progress: Progress) -> list[Artifact]:
    """Make every artifact of `native_formats` that is missing or out of date; returns all of them, checked.

    A quantised artifact of other weights is removed, whether or not its format was asked for: it would be served and
    measured beside the new ones. `train.quantisation` makes it anew.
    """
    sweep(settings.artifacts)
    due = _due(settings)
    _remove_outdated_quantised(settings, progress)
    if due:
        require_room(settings.artifacts, ROOM_BYTES)
    total = sum(len(jobs) for jobs in due.values())
    done = 0
    with tempfile.TemporaryDirectory(prefix="hemabench-") as golden:
        for framework, jobs in due.items():
            progress(f"export: start {framework}", done, total)
            for finished in _exported_by(framework, jobs, settings, golden):
                done += 1
                progress(f"exported {finished} with {framework}", done, total)
    progress("artifacts are up to date", total, total)
    native = settings.native_formats
    folders = (artifact_folder(settings.artifacts, f, px) for px in settings.resolutions_px for f in native)
    return [load_artifact(folder) for folder in folders]


def _due(settings: ExportSettings) -> dict[str, list[Job]]:
    """What each framework has to make, frameworks with nothing to do left out."""
    due: dict[str, list[Job]] = {}
    for resolution_px in settings.resolutions_px:
        checkpoint = load_checkpoint(checkpoint_path(settings.checkpoints, settings.model, resolution_px))
        for framework, entry in FRAMEWORKS.items():
            for format_ in entry.formats:
                folder = artifact_folder(settings.artifacts, format_, resolution_px)
                wanted = format_ in settings.native_formats
                if wanted and (settings.force or not _is_current(folder, checkpoint, framework)):
                    due.setdefault(framework, []).append(Job(format_, resolution_px))
    return due


def _is_current(folder: Path, checkpoint: Checkpoint, framework: str) -> bool:
    """Whether the artifact was made from this checkpoint by the installed versions, and is undamaged."""
    try:
        manifest = load_artifact(folder).manifest
    except (ArtifactUnavailable, ManifestInvalid):
        return False
    return (
        _is_made_from(manifest, checkpoint)
        and manifest.metrics == checkpoint.record.metrics
        and manifest.versions == versions_of(FRAMEWORKS[framework].packages)
    )


def _is_made_from(manifest: Manifest, checkpoint: Checkpoint) -> bool:
    calibration, distribution = checkpoint.record.calibration, checkpoint.distribution
    return (
        manifest.weights_digest == digest_of_weights(checkpoint.weights)
        and manifest.spec_digest == checkpoint.spec.digest
        and manifest.distance_threshold == (calibration.distance_threshold if calibration else None)
        and manifest.temperature == (calibration.temperature if calibration else 1.0)
        and manifest.files.get(DISTRIBUTION_FILE) == (distribution.sha256 if distribution else None)
    )


def _remove_outdated_quantised(settings: ExportSettings, progress: Progress) -> None:
    for resolution_px in settings.resolutions_px:
        checkpoint = load_checkpoint(checkpoint_path(settings.checkpoints, settings.model, resolution_px))
        for format_ in QUANTISED_FROM:
            folder = artifact_folder(settings.artifacts, format_, resolution_px)
            with suppress(ArtifactUnavailable, ManifestInvalid):  # which is not served either
                if not _is_made_from(load_artifact(folder).manifest, checkpoint):
                    progress(f"remove {folder}, which is of other weights", 0, 1)
                    shutil.rmtree(folder)


def _exported_by(framework: str, jobs: list[Job], settings: ExportSettings, golden: str) -> Iterator[str]:
    """Yields each job as its artifact is in place; raises `ExportFailed` with the process's own last words."""
    command = [sys.executable, "-m", "train.export", framework, *map(str, jobs), "--model", settings.model]
    command += ["--checkpoints", str(settings.checkpoints), "--artifacts", str(settings.artifacts)]
    command += ["--golden", golden]
    with (
        tempfile.TemporaryFile("w+") as words,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=words, text=True, env={**os.environ, **ON_THE_PROCESSOR}
        ) as process,
    ):
        assert process.stdout is not None  # asked for above
        try:
            yield from (line.strip() for line in process.stdout)
        except BaseException:  # Ctrl-C, here or in whoever is yielded to: nobody waits for the rest
            stop_child(process)
            raise
        if process.wait():
            words.seek(0)
            last = "\n".join(words.read().strip().splitlines()[-5:])
            raise ExportFailed(f"{framework} could not export {', '.join(map(str, jobs))}:\n{last}")


def export_artifact(framework: str, job: Job, settings: ExportSettings, golden: Path) -> Artifact:
    """Export one artifact in this process, reload it from disk, prove parity, then put it in its place.

    ``golden`` is where this run keeps its golden batches.

    Raises `ParityError` and leaves an earlier artifact untouched when the new one is off.
    """
    checkpoint = load_checkpoint(checkpoint_path(settings.checkpoints, settings.model, job.resolution_px))
    target = artifact_folder(settings.artifacts, job.format, job.resolution_px)
    with built_for(target) as built:
        parity = _build(framework, job, checkpoint, built, kept_golden_batch(checkpoint, job.resolution_px, golden))
        save_manifest(built, _manifest(framework, job, checkpoint, built, parity))
        replace_folder(built, target)
    return load_artifact(target)


def _build(framework: str, job: Job, checkpoint: Checkpoint, folder: Path, golden: GoldenBatch) -> Parity:
    module = load_framework(framework)
    golden.save(folder / GOLDEN_FILE)
    if checkpoint.distribution is not None:
        checkpoint.distribution.save(folder / DISTRIBUTION_FILE)
    path = folder / FORMATS[job.format]
    module.export(checkpoint.spec, checkpoint.weights, job.resolution_px, job.format, path)
    return prove_parity(str(job), module.reload(job.format, path), golden)


def kept_golden_batch(checkpoint: Checkpoint, resolution_px: int, folder: Path) -> GoldenBatch:
    """The golden batch in ``folder``, computed by whoever asks first: the reference is slow float64."""
    path = folder / f"{resolution_px}px.safetensors"
    if not path.is_file():
        golden_batch(checkpoint, resolution_px).save(path)
    return GoldenBatch.load(path)


def golden_batch(checkpoint: Checkpoint, resolution_px: int) -> GoldenBatch:
    """Rendered cells, two of each class, with the float64 reference network's logits."""
    images, _ = render_cells(GOLDEN_IMAGES, resolution_px, GOLDEN_SEED)
    return GoldenBatch(images, reference_logits(checkpoint.spec, checkpoint.weights, scale_pixels(images)))


def _manifest(framework: str, job: Job, checkpoint: Checkpoint, folder: Path, parity: Parity) -> Manifest:
    record = checkpoint.record
    calibration = record.calibration
    return Manifest(
        model=checkpoint.spec.name,
        spec_digest=checkpoint.spec.digest,
        format=job.format,
        resolution_px=job.resolution_px,
        weights_digest=digest_of_weights(checkpoint.weights),
        trained_on=record.data_description,
        splits_sha256=record.splits_sha256,
        labels=record.labels,
        files=digests_of_files(folder),
        versions=versions_of(FRAMEWORKS[framework].packages),
        parity=parity,
        metrics=record.metrics,
        temperature=calibration.temperature if calibration else 1.0,
        distance_threshold=calibration.distance_threshold if calibration else None,
        reproducible=record.reproducible,
    )


def main() -> None:
    """Make artifacts with one framework; names each on standard output when it is in place."""
    parser = argparse.ArgumentParser(prog="python -m train.export", description=main.__doc__)
    parser.add_argument("framework", choices=FRAMEWORKS)
    parser.add_argument("jobs", nargs="+", type=Job.parse, metavar="FORMAT:RESOLUTION")
    parser.add_argument("--model", required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--artifacts", type=Path, required=True)
    parser.add_argument("--golden", type=Path, required=True)
    given = parser.parse_args()
    settings = ExportSettings(model=given.model, checkpoints=given.checkpoints, artifacts=given.artifacts)
    try:
        with interrupted_once():
            for job in given.jobs:
                export_artifact(given.framework, job, settings, given.golden)
                sys.stdout.write(f"{job}\n")
                sys.stdout.flush()
    except HemaBenchError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(why_not(error)) from error


if __name__ == "__main__":
    main()
