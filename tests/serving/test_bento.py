"""What is packed is the service and nothing of the training."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
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


@contextmanager
def running(command, environment, port, folder=None):
    """A client of what ``command`` starts, once it is ready."""
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        try:
            transport = httpx.HTTPTransport(retries=8)
            with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                while client.get("/readyz").status_code != 200:
                    assert run.poll() is None
                yield client
        finally:
            run.terminate()


def addresses_listened_at(port):
    """In hexadecimal, the last byte first, as the kernel tells them."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        local.split(":")[0] for _, local, _, state, *_ in sockets if state == "0A" and local.endswith(f":{port:04X}")
    }


def test_a_bento_serves_on_the_loopback_interface_with_no_setting_at_all(bento, port, cell_png):
    folder, home = bento
    command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--port", str(port)]
    with running(command, bentoml_environment(home), port) as client:
        answer = client.post("/v1/classify", content=cell_png, headers={"Content-Type": "image/png"}).json()
        assert addresses_listened_at(port) == {"0100007F"}
    assert answer["model"]["runtime"] == "onnx"
    assert answer["model"]["resolution"] == 28


def test_in_a_container_a_bento_listens_where_others_reach_it(bento, port):
    """The image itself needs an engine; its entrypoint and its variables are those that the Dockerfile names."""
    folder, home = bento
    dockerfile = (folder / "env" / "docker" / "Dockerfile").read_text()
    entrypoint = folder / re.search(r'^ENTRYPOINT \[ "/home/bentoml/bento/(.+)" \]$', dockerfile, re.MULTILINE)[1]
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    named = re.findall(r"^ENV (\w+)=\$(\w+)$", dockerfile, re.MULTILINE)
    inside = {name: arguments[argument] for name, argument in named if argument in arguments}
    environment = {
        **bentoml_environment(home),
        **inside,
        "BENTO_PATH": str(folder),
        "BENTOML_PORT": str(port),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    with running(["bash", str(entrypoint)], environment, port, folder):
        assert addresses_listened_at(port) == {"00000000"}
