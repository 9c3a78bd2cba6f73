"""One image file classified, in this process or by a running service, with the same answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from contract.errors import DataUnavailable
from serving.answers import Answer, decode_json, encode_json, predict_label, with_timing
from serving.client.client import HemaBenchClient
from serving.http.images import decode_image, model_input
from serving.inference.classifier import load_classifier
from serving.observe.clock import PartClock
from serving.settings import ServiceSettings

IN_PROCESS = "in-process"


def classify_file(path: Path, settings: ServiceSettings, resolution_px: int | None = None) -> Answer:
    """The answer to the image in ``path``, computed here; without a resolution by the smallest model there is.

    Raises `InvalidImage` with the words that a service would use, and what `load_classifier` raises.
    """
    image_bytes = _read(path)
    decode_image(image_bytes)  # what is wrong with the image is said before a framework is imported for it
    side = resolution_px or settings.resolutions_to_serve()[0]
    served = load_classifier(replace(settings, resolutions_px=(side,))).models[side]
    clock = PartClock()
    image = decode_image(image_bytes)
    clock.end("decode")
    batch = model_input(image, side)
    distance = served.distance_of(batch)
    clock.end("preprocess")
    logits = served.model.predict(batch)
    clock.end("infer")
    prediction = predict_label(logits[0], served.temperature, served.labels, served.name, IN_PROCESS, distance)
    return decode_json(with_timing(encode_json(prediction), clock.with_total()), type=Answer)


def classify_at(path: Path, url: str, resolution_px: int | None = None) -> Answer:
    """The answer of the service at ``url`` to the image in ``path``.

    Raises `RequestRefused` with the service's own message, `ServiceFailed` where none answers.
    """
    with HemaBenchClient(url) as client:
        return client.classify(path, resolution_px)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataUnavailable(f"cannot read {path}: {error.strerror}") from error
