"""What is packed is the service and nothing of the training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bento(tmp_path_factory, onnx_artifacts):
    """A Bento built from the repository's own files, with tiny artifacts in place of the real ones."""
    source, home = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("home")
    for stage in ("contract", "serving", "train", "loadtest"):
        shutil.copytree(ROOT / stage, source / stage, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "bentofile.yaml", source)
    shutil.copytree(onnx_artifacts / "onnx", source / "exported_models" / "artifacts" / "onnx")
    run_bentoml(["build"], source, home)
    (folder,) = (path for path in (home / "bentos" / "hemabench").iterdir() if path.is_dir())
    return folder, home


def bentoml_environment(home):
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HEMABENCH_")}
    return {**ours, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "1"}


def run_bentoml(arguments, folder, home):
    command = [sys.executable, "-m", "bentoml", *arguments]
    ran = subprocess.run(
        command, cwd=folder, env=bentoml_environment(home), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_a_bento_holds_the_service_and_its_models_only(bento):
    folder, _ = bento
    packed = {path.relative_to(folder / "src").as_posix() for path in (folder / "src").rglob("*") if path.is_file()}
    assert {path.split("/")[0] for path in packed} <= {"contract", "serving", "exported_models", "bentofile.yaml"}
    assert {path for path in packed if path.endswith((".pkl", ".pickle", ".h5", ".keras"))} == set()
    assert "exported_models/artifacts/onnx/28px/model.onnx" in packed
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "serving").rglob("*.py")} <= packed


def test_a_bento_serves_with_no_setting_at_all(bento, port, cell_png):
    folder, home = bento
    command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command, env=bentoml_environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        try:
            transport = httpx.HTTPTransport(retries=8)
            with httpx.Client(transport=transport, base_url=url, timeout=60) as client:
                while client.get("/readyz").status_code != 200:
                    assert run.poll() is None
                answer = client.post("/v1/classify", content=cell_png, headers={"Content-Type": "image/png"}).json()
        finally:
            run.terminate()
    assert answer["model"]["runtime"] == "onnx"
    assert answer["model"]["resolution"] == 28
