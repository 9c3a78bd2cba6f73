"""The words of the OpenAPI document: an operation, and content of a media type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.answers import ErrorAnswer

Schema = dict[str, Any]

REFERENCES = "#/components/schemas/{name}"
# What a connection may get before there is a path, and what any path may answer with.
_ANY_REQUEST = ("bad_request", "headers_too_large", "headers_too_slow", "url_too_long")
ANY_PATH = (*_ANY_REQUEST, "method_not_allowed", "internal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method at one path.

    ``codes`` are the words it may answer with, in the shape ``error``, when it does not give ``answer``.
    """

    path: str
    method: str
    summary: str
    answer: Schema
    codes: tuple[str, ...] = ANY_PATH
    error: type = ErrorAnswer
    answer_headers: tuple[str, ...] = ("X-Request-Id",)
    parts: Schema = field(default_factory=dict)


def reference(structure: type) -> Schema:
    """The schema of ``structure``, by name."""
    return {"$ref": REFERENCES.format(name=structure.__name__)}


def json_content(schema: Mapping[str, Any]) -> Schema:
    """Content in JSON."""
    return {"application/json": {"schema": dict(schema)}}


def text_content() -> Schema:
    """Content for people, or for Prometheus."""
    return {"text/plain": {"schema": {"type": "string"}}}
