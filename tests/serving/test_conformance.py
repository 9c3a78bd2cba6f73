"""schemathesis asks every runtime's service what its OpenAPI document allows, and what it does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent
EXAMPLES = 8
TIME_LIMIT_S = 100
# A schema cannot say that a tensor's data has as many values as its shape, so what fits the schema may be refused.
CONFIGURATION = """
[parameters]
"path.model" = "{model}"

[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.acceptance("A6")
def test_schemathesis_finds_no_failure(service, tmp_path):
    model = httpx.post(f"{service.url}/v2/repository/index").json()[0]["name"]
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.format(model=model))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_images", "PYTHONPATH": str(HERE)}
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/docs.json"),
        *("--mode", "all", "--max-examples", str(EXAMPLES)),
        *("--generation-deterministic", "--continue-on-failure", "--no-color"),
    ]
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
    )
    assert ran.returncode == 0, ran.stdout[-6_000:] + ran.stderr[-2_000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", ran.stdout)
    assert counted is not None, ran.stdout[-2_000:]
    assert counted[1] == counted[2]
    assert "Missing test data" not in ran.stdout, ran.stdout[-2_000:]
