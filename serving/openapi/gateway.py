"""The OpenAPI document of the gateway: every runtime's answer to one upload, and the page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from contract.blood_cells import NOTICE
from serving.answers import Answer, ErrorAnswer, LoadedModels, ManyAnswers, encode_json
from serving.gateway.answers import GatewayAnswer, GatewayModels, Readiness
from serving.gateway.codes import GATEWAY_CODES
from serving.http.codes import CODES
from serving.openapi.document import RESOLUTION, codes_as_text, compose, schemas_of, upload
from serving.openapi.operations import ANY_PATH, Operation, Schema, json_content, reference, text_content

STRUCTURES = (GatewayAnswer, GatewayModels, Readiness, ErrorAnswer, Answer, ManyAnswers, LoadedModels)
# What no service would read is refused as a whole; anything else is a runtime's own outcome.
_UPLOAD_CODES = (
    *("bad_framing", "missing_image", "unsupported_media_type", "unsupported_encoding"),
    *("body_too_slow", "body_too_large", "overloaded"),
)


@cache
def gateway_document(files: tuple[tuple[str, str], ...]) -> bytes:
    """The document as JSON; ``files`` are the page's paths and media types."""
    words = (
        f"Blood-cell classification by every runtime at once. **{NOTICE}**\n\n{codes_as_text(CODES | GATEWAY_CODES)}"
    )
    return encode_json(compose(operations(dict(files)), _schemas(), words))


def operations(files: Mapping[str, str]) -> list[Operation]:
    """Everything that the gateway's door answers."""
    readiness = json_content(reference(Readiness))
    nobody = {"responses": {"503": {"description": "No runtime would answer.", "content": readiness}}}
    return [
        Operation(
            path="/v1/classify",
            method="post",
            summary="Which cell is this? What every runtime says of one image, or of a form of up to 64.",
            answer=json_content(reference(GatewayAnswer)),
            codes=(*_UPLOAD_CODES, *ANY_PATH),
            answer_headers=("X-Request-Id", "Server-Timing"),
            parts={"description": _CLASSIFY, "parameters": [RESOLUTION], **upload()},
        ),
        Operation(
            path="/v1/models",
            method="get",
            summary="Every runtime's state and models, and the resolutions of all.",
            answer=json_content(reference(GatewayModels)),
        ),
        *(
            Operation(path=path, method="get", summary="Who would answer now.", answer=readiness, parts=nobody)
            for path in ("/ready", "/readyz")
        ),
        *(
            Operation(path=path, method="get", summary="That the gateway runs.", answer=text_content())
            for path in ("/live", "/livez")
        ),
        *(
            Operation(path=path, method="get", summary="This document.", answer=json_content({"type": "object"}))
            for path in ("/openapi.json", "/docs.json")
        ),
        *(
            Operation(path=path, method="get", summary="A file of the page.", answer=_file_of(media_type))
            for path, media_type in files.items()
        ),
    ]


_CLASSIFY = """\
The status is 200 however many runtimes fail: `runtimes` has for each an answer, which is the service's own
to the byte, or an error, which is the service's own or one that only the gateway gives.
"""


def _file_of(media_type: str) -> Schema:
    kind = {} if media_type.startswith("text/") else {"format": "binary"}
    return {media_type.partition(";")[0]: {"schema": {"type": "string", **kind}}}


def _schemas() -> Schema:
    """What a service said is passed on unread, so its structure is not in the gateway's."""
    schemas = schemas_of(STRUCTURES, CODES | GATEWAY_CODES)
    schemas["RuntimeAnswer"]["properties"]["answer"] = {"anyOf": [reference(Answer), reference(ManyAnswers)]}
    schemas["RuntimeModels"]["properties"]["loaded"] = {"anyOf": [reference(LoadedModels), {"type": "null"}]}
    return schemas
