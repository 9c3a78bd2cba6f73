"""The gateway's OpenAPI document says what its code does, and schemathesis finds nothing else."""

from __future__ import annotations

import json

import httpx
import pytest

from serving.gateway.codes import GATEWAY_CODES
from serving.gateway.endpoints import GatewayEndpoints
from serving.gateway.pages import page_files
from serving.gateway.settings import GatewaySettings
from serving.http.codes import CODES
from serving.openapi.gateway import gateway_document
from serving.settings import ServiceSettings

# What a runtime refuses is its own outcome in an answer whose status is 200.
CONFIGURATION = """
[[operations]]
include-path = "/v1/classify"
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture(scope="module")
def document():
    return json.loads(gateway_document(page_files()))


def test_every_route_of_the_gateway_is_in_its_document_and_none_else(document):
    settings = GatewaySettings(services=(ServiceSettings(runtime="null"),))
    routes = GatewayEndpoints(settings, {}, httpx.AsyncClient()).routes()
    there = {(path, method.lower()) for path, methods in routes.items() for method in methods}
    assert there == {(path, method) for path, methods in document["paths"].items() for method in methods}


def test_every_code_that_a_runtime_may_be_answered_with_is_in_the_document(document):
    codes = CODES | GATEWAY_CODES
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(codes)
    assert all(f"`{name}`" in document["info"]["description"] for name in codes)


def test_what_the_services_said_has_their_own_structure(document):
    schemas = document["components"]["schemas"]
    said = schemas["RuntimeAnswer"]["properties"]["answer"]["anyOf"]
    assert [one["$ref"].rpartition("/")[2] for one in said] == ["Answer", "ManyAnswers"]
    loaded = schemas["RuntimeModels"]["properties"]["loaded"]["anyOf"]
    assert loaded[0]["$ref"].endswith("/LoadedModels")
    assert {"Answer", "ManyAnswers", "LoadedModels"} <= schemas.keys()


def test_schemathesis_finds_no_failure_at_the_gateway(gateway, tmp_path, schemathesis_passes):
    schemathesis_passes(gateway.url, tmp_path, CONFIGURATION)
