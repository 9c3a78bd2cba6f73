"""One image file classified, in this process or by a running service, with the same answer."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from contract.errors import DataUnavailable, RequestRefused, ServiceFailed
from serving.answers import Answer, ErrorAnswer, decode_json, encode_json, predict_label, with_timing
from serving.classifier import load_classifier
from serving.clock import PartClock
from serving.images import decode_image, model_input
from serving.settings import ServiceSettings

TIMEOUT_S = 30.0
IN_PROCESS = "in-process"


def classify_file(path: Path, settings: ServiceSettings, resolution_px: int | None = None) -> Answer:
    """The answer to the image in ``path``, computed here; without a resolution by the smallest model there is.

    Raises `InvalidImage` with the words that a service would use, and what `load_classifier` raises.
    """
    image_bytes = _read(path)
    side = resolution_px or settings.resolutions_to_serve()[0]
    served = load_classifier(replace(settings, resolutions_px=(side,))).models[side]
    clock = PartClock()
    image = decode_image(image_bytes)
    clock.end("decode")
    batch = model_input(image, side)
    clock.end("preprocess")
    logits = served.model.predict(batch)
    clock.end("infer")
    prediction = predict_label(logits[0], served.temperature, served.labels, served.name, IN_PROCESS)
    return decode_json(with_timing(encode_json(prediction), clock.with_total()), type=Answer)


def classify_at(path: Path, url: str, resolution_px: int | None = None) -> Answer:
    """The answer of the service at ``url`` to the image in ``path``.

    Raises `RequestRefused` with the service's own message, `ServiceFailed` where none answers.
    """
    query = f"?{urlencode({'resolution': resolution_px})}" if resolution_px is not None else ""
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v1/classify{query}",
        data=_read(path),
        headers={"Content-Type": "application/octet-stream"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return decode_json(response.read(), type=Answer)
    except urllib.error.HTTPError as error:
        raise _refused(error) from error
    except OSError as error:
        raise ServiceFailed(f"no service answers at {url}: {error}. Next: hemabench serve") from error
    except msgspec.MsgspecError as error:
        raise ServiceFailed(f"what answers at {url} is no HemaBench service: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataUnavailable(f"cannot read {path}: {error.strerror}") from error


def _refused(error: urllib.error.HTTPError) -> RequestRefused:
    try:
        problem = decode_json(error.read(), type=ErrorAnswer).error
    except msgspec.MsgspecError:
        return RequestRefused(f"the service answered with status {error.code} and no reason")
    return RequestRefused(f"{problem.message} (status {error.code}, {problem.code}, request {problem.request_id})")
