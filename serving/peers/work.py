"""What every peer does with a request: the same decode, the same inference, the same answer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from serving.answers import probabilities_of
from serving.http.images import decode_image, model_input
from serving.inference.classifier import ServedModel, load_model
from serving.runtimes import create_runtime
from serving.settings import DEFAULT_ARTIFACTS

HOST = "127.0.0.1"
RUNTIME = "onnx"
WARM_UP = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """What a peer is told on its command line."""

    port: int
    resolution_px: int = 28
    artifacts: Path = DEFAULT_ARTIFACTS


@dataclass(frozen=True, slots=True)
class Work:
    """One model, from the bytes of an image to the fields of an answer."""

    served: ServedModel

    def classify(self, image_bytes: bytes) -> dict[str, object]:
        """The answer to an image file; raises `InvalidImage`."""
        return self.classify_image(decode_image(image_bytes))

    def classify_image(self, image: Image.Image) -> dict[str, object]:
        """The answer to a decoded RGB image."""
        served = self.served
        batch = model_input(image, served.resolution_px)
        logits = served.model.predict(batch)
        probabilities = probabilities_of(logits[0], served.temperature)
        index = probabilities.index(max(probabilities))
        distance = served.distance_of(batch)
        return {
            "label": served.labels[index],
            "class_index": index,
            "probabilities": dict(zip(served.labels, probabilities, strict=True)),
            "in_distribution": None if distance is None else distance.value <= distance.threshold,
        }


def load_work(artifacts: Path, resolution_px: int) -> Work:
    """The ONNX artifact, loaded and proved as our own service does it, with one thread; warm."""
    work = Work(load_model(create_runtime(RUNTIME), artifacts, resolution_px))
    blank = Image.new("RGB", (resolution_px, resolution_px))
    for _ in range(WARM_UP):
        work.classify_image(blank)
    return work


def read_arguments(description: str | None, arguments: Sequence[str] | None = None) -> PeerSettings:
    """The command line that every peer has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--resolution", type=int, default=28)
    parser.add_argument("--artifacts", type=Path, default=DEFAULT_ARTIFACTS)
    given = parser.parse_args(arguments)
    return PeerSettings(port=given.port, resolution_px=given.resolution, artifacts=given.artifacts)
