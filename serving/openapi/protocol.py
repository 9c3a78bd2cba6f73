"""The paths of the Open Inference Protocol in the OpenAPI document."""

from __future__ import annotations

from functools import partial

from serving.answers import ProtocolErrorAnswer
from serving.openapi.operations import ANY_PATH, Operation, Schema, json_content, reference
from serving.protocol.model_statistics import ModelStatistics
from serving.protocol.tensors import CHANNELS, DATATYPE, MAX_BATCH, InferenceAnswer

PROTOCOL_STRUCTURES = (ProtocolErrorAnswer, ModelStatistics, InferenceAnswer)
_LOADED = ("starting", "stopping", *ANY_PATH)
_OF_A_MODEL = ("not_found", *_LOADED)
_POSTED = ("bad_framing", "unsupported_media_type", "unsupported_encoding")
_INFERENCE = (
    *(*_POSTED, "body_too_slow", "body_too_large"),
    *("bad_request_body", "bad_tensor", "batch_too_large", "value_out_of_range"),
    *("model_output_invalid", "overloaded", "deadline"),
)
_OBJECT = json_content({"type": "object"})
_STATISTICS = json_content(
    {
        "type": "object",
        "required": ["model_stats"],
        "properties": {"model_stats": {"type": "array", "items": reference(ModelStatistics)}},
    }
)
_get = partial(Operation, method="get", error=ProtocolErrorAnswer)
_post = partial(Operation, method="post", error=ProtocolErrorAnswer)


def protocol_operations() -> list[Operation]:
    """Everything under ``/v2``; a model's paths exist with and without its version."""
    return [
        _get(path="/v2", summary="Who serves, and which extensions.", answer=_OBJECT),
        _get(path="/v2/health/live", summary="That the process lives.", answer=_OBJECT),
        _get(path="/v2/health/ready", summary="That every model would answer.", answer=_OBJECT, codes=_LOADED),
        _get(path="/v2/models/stats", summary="Statistics of every model.", answer=_STATISTICS, codes=_LOADED),
        _post(
            path="/v2/repository/index",
            summary="Every model; the body is not read.",
            answer=json_content({"type": "array", "items": {"type": "object"}}),
            codes=(*_POSTED, *_LOADED),
        ),
        *_operations_of("/v2/models/{model}", [_MODEL]),
        *_operations_of("/v2/models/{model}/versions/{version}", [_MODEL, _VERSION]),
    ]


def _operations_of(path: str, parameters: list[Schema]) -> list[Operation]:
    described = (
        ("", "A model's inputs and outputs.", _OBJECT),
        ("/config", "The part of Triton's model configuration that holds here.", _OBJECT),
        ("/ready", "That the model would answer.", _OBJECT),
        ("/stats", "The model's statistics.", _STATISTICS),
    )
    parts: Schema = {"parameters": parameters}
    return [
        *(
            _get(path=path + end, summary=summary, answer=answer, codes=_OF_A_MODEL, parts=parts)
            for end, summary, answer in described
        ),
        _post(
            path=f"{path}/infer",
            summary=f"Logits and probabilities of up to {MAX_BATCH} images that the client has preprocessed.",
            answer={**json_content(reference(InferenceAnswer)), **_BINARY},
            codes=(*_INFERENCE, *_OF_A_MODEL),
            answer_headers=("X-Request-Id", "Server-Timing"),
            parts={**parts, "requestBody": {"required": True, "content": {**json_content(_REQUEST), **_BINARY}}},
        ),
    ]


_MODEL: Schema = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "As /v2/repository/index names it: the network and its resolution.",
    "schema": {"type": "string", "minLength": 1},
    "example": "hemanet-28px",
}
_VERSION: Schema = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "enum": ["1"]}}
# JSON followed by tensors, of which the header Inference-Header-Content-Length says where they begin.
_BINARY: Schema = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_REQUEST: Schema = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": {"type": "string", "description": "As the model's metadata names it."},
                    "datatype": {"type": "string", "const": DATATYPE},
                    "shape": {
                        "type": "array",
                        "description": f"[images, side, side, {CHANNELS}]; `data` has as many values.",
                        "minItems": 4,
                        "maxItems": 4,
                        "items": {"type": "integer", "minimum": 1},
                    },
                    "data": {"type": "array", "description": "Flat or nested, row by row, in [-1, 1]."},
                },
            },
        }
    },
}
