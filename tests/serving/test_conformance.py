"""schemathesis asks every runtime's service what its OpenAPI document allows, and what it does not."""

from __future__ import annotations

import httpx
import pytest

# A schema cannot say that a tensor's data has as many values as its shape, so what fits the schema may be refused.
CONFIGURATION = """
[parameters]
"path.model" = "{model}"

[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.acceptance("A6")
def test_schemathesis_finds_no_failure(service, tmp_path, schemathesis_passes):
    model = httpx.post(f"{service.url}/v2/repository/index").json()[0]["name"]
    schemathesis_passes(service.url, tmp_path, CONFIGURATION.format(model=model))
