"""The OpenAPI document, made of the very structures that answer and of the table of codes."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping
from functools import cache

import msgspec
from PIL import Image, ImageDraw

from contract.blood_cells import LABELS, NOTICE, RESOLUTIONS_PX
from contract.environment import versions_of
from contract.timing import PARTS, TOTAL
from serving.answers import (
    Answer,
    ErrorAnswer,
    ImageAnswer,
    ImageError,
    Index,
    LoadedModels,
    ManyAnswers,
    ModelName,
    Problem,
    ProtocolErrorAnswer,
    encode_json,
)
from serving.http.bodies import MAX_IMAGES
from serving.http.codes import CODES, Code
from serving.openapi.operations import ANY_PATH, REFERENCES, Operation, Schema, json_content, reference, text_content
from serving.openapi.protocol import PROTOCOL_STRUCTURES, protocol_operations

OPENAPI_VERSION = "3.1.0"
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp", "application/octet-stream")
STRUCTURES = (Answer, ManyAnswers, ErrorAnswer, LoadedModels, Index, *PROTOCOL_STRUCTURES)
_TENSOR_CODES = frozenset({"bad_request_body", "bad_tensor", "batch_too_large", "value_out_of_range"})
_NO_PATH = "not_found"


@cache
def openapi_document() -> bytes:
    """The document as JSON."""
    description = f"Blood-cell classification. **{NOTICE}**\n\n{codes_as_text(CODES)}"
    return encode_json(compose(operations(), schemas_of(STRUCTURES, CODES), description))


def operations() -> list[Operation]:
    """Everything that the door answers."""
    return [
        _classify(),
        Operation(
            path="/v1/models",
            method="get",
            summary="Every loaded model with its evidence, what it runs on, and how many requests ended how.",
            answer=json_content(reference(LoadedModels)),
            codes=("starting", "stopping", *ANY_PATH),
        ),
        Operation(
            path="/v1/card",
            method="get",
            summary="The model card: intended use, data, scores, limits.",
            answer={"text/markdown": {"schema": {"type": "string"}}},
            codes=("starting", "stopping", "unknown_resolution", *ANY_PATH),
            parts={"parameters": [RESOLUTION]},
        ),
        Operation(path="/", method="get", summary="What there is to ask for.", answer=json_content(reference(Index))),
        Operation(
            path="/metrics", method="get", summary="Counters and histograms for Prometheus.", answer=text_content()
        ),
        *(
            Operation(path=path, method="get", summary="This document.", answer=json_content({"type": "object"}))
            for path in ("/openapi.json", "/docs.json")
        ),
        Operation(
            path="/schema.json",
            method="get",
            summary="The methods that a client of BentoML finds: `classify`, and one for each resolution.",
            answer=json_content({"type": "object"}),
            codes=("starting", "stopping", *ANY_PATH),
        ),
        *(
            Operation(path=path, method="get", summary=summary, answer=text_content(), answer_headers=())
            for path, summary in (("/livez", "That the process lives."), ("/healthz", "The same."))
        ),
        Operation(
            path="/readyz",
            method="get",
            summary="That a classification would be answered.",
            answer=text_content(),
            answer_headers=(),
            parts={"responses": {"503": {"description": "The models are being loaded.", "content": text_content()}}},
        ),
        *protocol_operations(),
    ]


def _classify() -> Operation:
    answers = json_content({"anyOf": [reference(Answer), reference(ManyAnswers)]})
    answers["application/json"]["examples"] = {
        "one image": {"value": msgspec.to_builtins(_example_answer())},
        "several images": {"value": msgspec.to_builtins(_example_answers())},
    }
    return Operation(
        path="/v1/classify",
        method="post",
        summary="Which cell is this? One image, or a form of up to 64.",
        answer=answers,
        codes=tuple(code for code in CODES if code != _NO_PATH and code not in _TENSOR_CODES),
        answer_headers=("X-Request-Id", "Server-Timing"),
        parts={
            "description": _CLASSIFY,
            "parameters": [RESOLUTION],
            **upload(),
        },
    )


def upload() -> Schema:
    """The body of a classification: an image, or a form of several."""
    one = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {"image": {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_IMAGES}},
    }
    images = {media_type: {"schema": one} for media_type in IMAGE_TYPES}
    return {
        "requestBody": {"required": True, "content": {**images, "multipart/form-data": {"schema": form}}},
        "x-image-example": f"data:image/png;base64,{base64.b64encode(example_png()).decode()}",
    }


_CLASSIFY = f"""\
The image is the body itself, or the field `image` of a form. A form with one part `image` is
answered like a body that is the image. A form with several, up to {MAX_IMAGES}, is answered with
status 200 and `results`: one result or one error for each part, in their order; an image that
cannot be used never fails its neighbours. The limit on the body's size holds for the whole form.

`in_distribution` is false where the image is unlike the training images: its `distance` from them
is above `distance_threshold`, and its label means nothing. All three are null where the model has none.
"""
RESOLUTION: Schema = {
    "name": "resolution",
    "in": "query",
    "description": "Pixels of the image side that the model takes. Without it the smallest loaded model answers.",
    "schema": {"type": "integer", "enum": list(RESOLUTIONS_PX)},
}
_HEADERS: Schema = {
    "X-Request-Id": {
        "description": "Joins answer, log and records: the client's own where it sent a harmless one.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": f"Milliseconds of {', '.join(PARTS)} and their {TOTAL}; sums where several images were sent.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}},
    "Allow": {"description": "What the path takes.", "schema": {"type": "string"}},
}
# Statuses that carry more than the request id.
_STATUS_HEADERS = {405: ("Allow",), 503: ("Retry-After",), 504: ("Retry-After",)}


def compose(described: Iterable[Operation], schemas: Schema, description: str) -> Schema:
    """The document of ``described``, whose structures are ``schemas``."""
    paths: Schema = {}
    for operation in described:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "HemaBench",
            "version": versions_of(("hemabench",)).get("hemabench", "unpackaged"),
            "description": description,
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "headers": _HEADERS},
    }


def codes_as_text(codes: Mapping[str, Code]) -> str:
    """``codes`` as a table for people."""
    lines = [f"| {code.status} | `{name}` | {code.meaning} |" for name, code in codes.items()]
    return "\n".join(
        ["Every error has one shape, and one of these codes:", "", "| | code | |", "|---|---|---|", *lines]
    )


def schemas_of(structures: Iterable[type], codes: Iterable[str]) -> Schema:
    """The schemas of ``structures`` and of what they hold; ``codes`` are the words that an error may have."""
    _, schemas = msgspec.json.schema_components(structures, ref_template=REFERENCES)
    for structure in {"Problem", "ProtocolErrorAnswer"} & schemas.keys():
        schemas[structure]["properties"]["code"]["enum"] = list(codes)
    for answer in (Answer, ImageAnswer):
        schemas[answer.__name__]["required"] += ["in_distribution", "distance", "distance_threshold"]
    for schema in schemas.values():
        if "notice" in schema.get("properties", {}):
            schema["properties"]["notice"] = {"type": "string", "const": NOTICE}
            schema["required"] = [*schema["required"], "notice"]
    return schemas


def _operation(operation: Operation) -> Schema:
    responses = {
        "200": {
            "description": operation.summary,
            "headers": _headers_named(operation.answer_headers),
            "content": operation.answer,
        },
        **_refusals(operation),
        **operation.parts.get("responses", {}),
    }
    name = "_".join(re.findall(r"\w+", operation.path)) or "index"
    return {"operationId": name, "summary": operation.summary, **operation.parts, "responses": responses}


def _refusals(operation: Operation) -> Schema:
    by_status: dict[int, list[str]] = {}
    for name in operation.codes:
        by_status.setdefault(CODES[name].status, []).append(name)
    return {str(status): _refusal(status, by_status[status], operation.error) for status in sorted(by_status)}


def _refusal(status: int, codes: list[str], error: type) -> Schema:
    narrowed: Schema = {"properties": {"code": {"enum": codes}}}
    if error is ErrorAnswer:
        narrowed = {"properties": {"error": narrowed}}
    content = json_content({"allOf": [reference(error), narrowed]})
    content["application/json"]["examples"] = {code: {"value": _example_error(code, error)} for code in codes}
    return {
        "description": "\n\n".join(f"`{code}`: {CODES[code].meaning}" for code in codes),
        "headers": _headers_named(("X-Request-Id", *_STATUS_HEADERS.get(status, ()))),
        "content": content,
    }


def _example_error(code: str, error: type) -> object:
    message = CODES[code].meaning
    if error is ErrorAnswer:
        return msgspec.to_builtins(ErrorAnswer(Problem(code, message, _REQUEST_ID)))
    return msgspec.to_builtins(ProtocolErrorAnswer(message, code, _REQUEST_ID))


def _headers_named(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def example_png() -> bytes:
    """A drawn cell, 28 pixels wide: an image that the service takes."""
    image = Image.new("RGB", (28, 28), "#f3dfe4")
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, 23, 23), fill="#d9b3cc")
    draw.ellipse((8, 7, 18, 17), fill="#6b3f8f")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


_MODEL = ModelName("hemanet", "onnx", RESOLUTIONS_PX[0], "0" * 64)
_PROBABILITIES = {label: 0.93 if label == "lymphocyte" else 0.01 for label in LABELS}
_DISTANCE, _DISTANCE_THRESHOLD = 8.1, 14.3
_TIMING_MS = {**dict.fromkeys(PARTS, 0.1), TOTAL: 0.6}
_REQUEST_ID = "4a0f6c1d00000007"


def _example_answer() -> Answer:
    return Answer(
        label="lymphocyte",
        class_index=LABELS.index("lymphocyte"),
        probabilities=_PROBABILITIES,
        model=_MODEL,
        request_id=_REQUEST_ID,
        calibrated=True,
        in_distribution=True,
        distance=_DISTANCE,
        distance_threshold=_DISTANCE_THRESHOLD,
        timing_ms=_TIMING_MS,
    )


def _example_answers() -> ManyAnswers:
    answered = ImageAnswer(
        "lymphocyte",
        LABELS.index("lymphocyte"),
        _PROBABILITIES,
        True,
        True,
        _DISTANCE,
        _DISTANCE_THRESHOLD,
        timing_ms=_TIMING_MS,
    )
    failed = ImageError(Problem("corrupt_image", CODES["corrupt_image"].meaning, _REQUEST_ID))
    return ManyAnswers([answered, failed], _MODEL, _REQUEST_ID, _TIMING_MS)
