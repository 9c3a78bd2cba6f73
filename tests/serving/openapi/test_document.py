"""The OpenAPI document says what the code does, no more and no less."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import httpx
import msgspec
import pytest
from PIL import Image

from serving.answers import Answer, ManyAnswers
from serving.http.codes import CODES
from serving.openapi.document import example_png, openapi_document

ROOT = Path(__file__).parents[3]
SERVING = sorted((ROOT / "serving").rglob("*.py"))


@pytest.fixture(scope="module")
def document():
    return json.loads(openapi_document())


def refusals_in(path):
    """Every (code, status) that a file of the service refuses a request with."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            if "code" in given and given.get("status"):
                yield given["code"], given["status"]
        if isinstance(node, ast.Tuple) and len(node.elts) == 3:  # what the guard of connections answers with
            status, code = (element.value if isinstance(element, ast.Constant) else None for element in node.elts[:2])
            if isinstance(status, int) and isinstance(code, str) and status >= 400:
                yield code, status


# Not answers of the service: what the client makes of a resolution that it has seen is not loaded.
CLIENT_SIDE = {*(ROOT / "serving" / "client").iterdir(), ROOT / "serving" / "http" / "codes.py"}


def test_every_refusal_in_the_code_is_in_the_table_and_none_else():
    found = {pair for path in SERVING if path not in CLIENT_SIDE for pair in refusals_in(path)}
    found.add(("internal", 500))  # the door's own last line of defence
    assert found == {(name, code.status) for name, code in CODES.items()}


def test_every_code_is_in_the_document_and_has_an_example(document):
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(CODES)
    assert all(f"`{name}`" in document["info"]["description"] for name in CODES)
    described = {
        (code, int(status))
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if status != "200"
        for code in response["content"].get("application/json", {}).get("examples", {})
    }
    assert described == {(name, code.status) for name, code in CODES.items()}


def test_every_route_is_in_the_document_and_none_else(document, open_endpoints):
    routes = open_endpoints().routes()
    there = {(template_of(path), method.lower()) for path, methods in routes.items() for method in methods}
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert there == described


def template_of(path):
    """The path with the names of a model and of its version left open."""
    return re.sub(r"/versions/\d+", "/versions/{version}", re.sub(r"/models/[^/]+-\d+px", "/models/{model}", path))


def test_the_examples_are_what_the_structures_say(document):
    content = document["paths"]["/v1/classify"]["post"]["responses"]["200"]["content"]["application/json"]
    examples = content["examples"]
    assert msgspec.convert(examples["one image"]["value"], Answer).label == "lymphocyte"
    assert len(msgspec.convert(examples["several images"]["value"], ManyAnswers).results) == 2


def test_the_example_image_is_one_that_the_service_takes(serving_null, document):
    assert Image.open(io.BytesIO(example_png())).size == (28, 28)
    uri = document["paths"]["/v1/classify"]["post"]["x-image-example"]
    assert uri.startswith("data:image/png;base64,")
    assert httpx.post(f"{serving_null.url}/v1/classify", content=example_png()).status_code == 200


def references(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and "$ref" in value:
        yield value["$ref"]
    for one in inner:
        yield from references(one)


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert found
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_both_paths_give_the_same_document(serving_null):
    first, second = (httpx.get(f"{serving_null.url}{path}") for path in ("/openapi.json", "/docs.json"))
    assert first.json() == second.json() == json.loads(openapi_document())
    assert first.headers["Content-Type"] == "application/json"
