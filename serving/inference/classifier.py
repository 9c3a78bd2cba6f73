"""The models that a service holds, one per resolution, each proved before it may answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.arrays import FloatArray
from contract.blood_cells import LABELS
from contract.calibration import Distribution
from contract.manifest import Metric, artifact_folder, load_artifact
from contract.parity import Parity, prove_parity
from serving.answers import Distance, ModelName
from serving.inference.devices import parse_device, require_device
from serving.runtimes import RUNTIMES, create_runtime, require_runtime, tolerance_of
from serving.runtimes.base import LoadedModel, Runtime
from serving.runtimes.null import NullModel
from serving.settings import ServiceSettings

WARM_UP_PREDICTIONS = 20  # until pools and caches have settled
FIRST_CALLS = 2  # what a thread that answers needs of a model that is warm: they set up what is the thread's own
# Tensors of several images are inferred in pieces of these sizes, which no runtime then meets for the first time.
EXECUTION_SIZES = (8, 4, 2, 1)
OBSERVED_S = 0.1
NULL_DIGEST = "0" * 64

Loading = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One loaded model and what is known about it. ``parity`` was proved by this process on this device."""

    name: ModelName
    model: LoadedModel
    labels: tuple[str, ...]
    temperature: float
    format: str | None = None
    weights_digest: str | None = None
    trained_on: str | None = None
    versions: dict[str, str] | None = None
    parity: Parity | None = None
    metrics: tuple[Metric, ...] = ()
    input_name: str = "images"
    output_name: str = "logits"
    distribution: Distribution | None = None
    distance_threshold: float | None = None

    @property
    def resolution_px(self) -> int:
        """The side of the images that the model takes."""
        return self.name.resolution

    @property
    def is_calibrated(self) -> bool:
        """Whether a temperature was fitted."""
        return self.temperature != 1.0

    def distance_of(self, batch: FloatArray) -> Distance | None:
        """How unlike the training images that one image (1, side, side, 3) is; None where nothing tells."""
        if self.distribution is None or self.distance_threshold is None:
            return None
        return Distance(self.distribution.distance(batch), self.distance_threshold)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A runtime and its models by resolution, ascending."""

    runtime: Runtime
    models: dict[int, ServedModel]
    facts: dict[str, str]

    @property
    def smallest(self) -> ServedModel:
        """What answers when a request names no resolution."""
        return next(iter(self.models.values()))


def require_servable(settings: ServiceSettings) -> None:
    """Everything about ``settings`` that can be known without importing a framework.

    Raises `RuntimeUnavailable`, `DeviceUnavailable`, `ArtifactUnavailable` or `DigestMismatch`.
    """
    require_runtime(settings.runtime)
    require_device(parse_device(settings.device))
    if (format_ := RUNTIMES[settings.runtime].format) is not None:
        for side in settings.resolutions_to_serve():
            load_artifact(artifact_folder(settings.artifacts, format_, side))


def load_classifier(settings: ServiceSettings, tell: Loading = lambda step: None) -> Classifier:
    """Every model of ``settings``, loaded, proved and warm.

    Raises `ArtifactUnavailable`, `DigestMismatch`, `ParityError`, `RuntimeUnavailable`
    or `DeviceUnavailable`: a service with one model that is off does not start at all.
    """
    sides = settings.resolutions_to_serve()
    tell(f"importing the {settings.runtime} runtime")
    runtime = create_runtime(settings.runtime, parse_device(settings.device), settings.threads)
    models: dict[int, ServedModel] = {}
    for side in sides:
        tell(f"loading and proving {settings.runtime} at {side} px")
        models[side] = load_model(runtime, settings.artifacts, side)
        warm_up(models[side], WARM_UP_PREDICTIONS)
    cores = cores_used(models[sides[-1]])
    return Classifier(runtime, models, {**runtime.describe(), "cores_used_by_inference": f"{cores:.2f}"})


def load_model(runtime: Runtime, artifacts: Path, resolution_px: int) -> ServedModel:
    """The model of ``runtime`` at ``resolution_px``; its digests are checked first, its parity is proved last."""
    format_ = RUNTIMES[runtime.name].format
    if format_ is None:
        return _null_model(resolution_px)
    artifact = load_artifact(artifact_folder(artifacts, format_, resolution_px))
    model = runtime.load(artifact)
    parity = prove_parity(artifact.name, model.predict, artifact.golden(), tolerance_of(runtime.name))
    for size in EXECUTION_SIZES:
        model.predict(_blank(resolution_px, size))
    manifest = artifact.manifest
    return ServedModel(
        name=ModelName(manifest.model, runtime.name, resolution_px, artifact.digest),
        model=model,
        labels=manifest.labels,
        temperature=manifest.temperature,
        format=manifest.format,
        weights_digest=manifest.weights_digest,
        trained_on=manifest.trained_on,
        versions=manifest.versions,
        parity=parity,
        metrics=manifest.metrics,
        input_name=manifest.input_name,
        output_name=manifest.output_name,
        distribution=artifact.distribution(),
        distance_threshold=manifest.distance_threshold,
    )


def warm_up(served: ServedModel, predictions: int) -> None:
    """So many ``predictions`` of a blank image in the calling thread."""
    blank = _blank(served.resolution_px)
    for _ in range(predictions):
        served.model.predict(blank)
        served.distance_of(blank)


def cores_used(served: ServedModel) -> float:
    """CPU seconds per second of inference: what really ran, whatever the number of threads that was asked for."""
    image = _blank(served.resolution_px)
    served.model.predict(image)
    began_s, cpu_s, elapsed_s = time.perf_counter(), time.process_time(), 0.0
    while elapsed_s < OBSERVED_S:
        served.model.predict(image)
        elapsed_s = time.perf_counter() - began_s
    return (time.process_time() - cpu_s) / elapsed_s


def _blank(resolution_px: int, images: int = 1) -> FloatArray:
    return np.zeros((images, resolution_px, resolution_px, 3), np.float32)


def _null_model(resolution_px: int) -> ServedModel:
    name = ModelName("null", "null", resolution_px, NULL_DIGEST)
    return ServedModel(name=name, model=NullModel(), labels=LABELS, temperature=1.0)
