"""F5: a changed artifact takes over while requests are answered, or is refused and the old one goes on."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from contract.blood_cells import LABELS
from contract.manifest import GOLDEN_FILE, MANIFEST_FILE, Manifest, artifact_folder, digests_of_files
from contract.parity import GoldenBatch
from contract.storage import read_json, sha256_of_file, write_json
from serving.runtimes import RUNTIMES
from serving.settings import ServiceSettings

LOOK_EVERY_S = 0.1
WAIT_S = 60


@pytest.fixture
def artifacts(onnx_artifacts, tmp_path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(onnx_artifacts, tmp_path / "artifacts"))


@pytest.fixture
def reloading(serve, artifacts, tmp_path):
    """A service that looks for changed artifacts."""
    settings = ServiceSettings(artifacts=artifacts, resolutions_px=(28, 64), reload_s=LOOK_EVERY_S)
    with serve(settings, tmp_path) as service:
        yield service


def rewritten(folder, **changes):
    """The manifest, over the files as they lie there and with ``changes``; its digest."""
    manifest = replace(read_json(folder / MANIFEST_FILE, Manifest), files=digests_of_files(folder), **changes)
    write_json(folder / MANIFEST_FILE, manifest)
    return sha256_of_file(folder / MANIFEST_FILE)


def with_a_model_that_is_no_model(folder):
    (folder / "model.onnx").write_bytes(b"no model")
    rewritten(folder)


def with_logits_that_are_off(folder):
    golden = GoldenBatch.load(folder / GOLDEN_FILE)
    GoldenBatch(golden.images, golden.logits + np.float32(0.01)).save(folder / GOLDEN_FILE)
    rewritten(folder)


def with_a_file_that_changed(folder):
    manifest = replace(read_json(folder / MANIFEST_FILE, Manifest), trained_on="something else")
    with (folder / "model.onnx").open("ab") as model:
        model.write(b"\0")
    write_json(folder / MANIFEST_FILE, manifest)


def with_half_a_manifest(folder):
    (folder / MANIFEST_FILE).write_text('{"model": ')


def with_other_labels(folder):
    rewritten(folder, labels=tuple(reversed(LABELS)))


def digest_of(service, image):
    return httpx.post(f"{service.url}/v1/classify?resolution=28", content=image).json()["model"]["digest"]


def reloads(service, outcome):
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    return next(
        float(line.split()[-1]) for line in lines if line.startswith(f'hemabench_reloads_total{{outcome="{outcome}"')
    )


@contextmanager
def asked_without_end(service, image, outcomes):
    over = threading.Event()

    def ask():
        with httpx.Client(base_url=service.url, timeout=WAIT_S) as client:
            while not over.is_set():
                response = client.post("/v1/classify?resolution=28", content=image)
                outcomes.append((response.status_code, response.json().get("model", {}).get("digest")))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


@pytest.mark.acceptance("F5")
@pytest.mark.parametrize(
    "worsen",
    [
        with_a_model_that_is_no_model,
        with_logits_that_are_off,
        with_a_file_that_changed,
        with_half_a_manifest,
        with_other_labels,
    ],
)
def test_a_bad_new_version_is_refused_and_the_old_one_goes_on(worsen, reloading, artifacts, cell_png, eventually):
    folder = artifact_folder(artifacts, "onnx", 28)
    old = sha256_of_file(folder / MANIFEST_FILE)
    worsen(folder)
    assert eventually(lambda: reloads(reloading, "refused") >= 3, WAIT_S)
    assert httpx.get(f"{reloading.url}/readyz").status_code == 200
    assert digest_of(reloading, cell_png) == old
    assert reloads(reloading, "done") == 0
    assert reloading.log.read_text().count("a changed artifact is refused, the old one goes on") == 1


@pytest.mark.acceptance("F5")
@pytest.mark.parametrize("runtime", [name for name, entry in RUNTIMES.items() if entry.division == "closed"])
def test_a_good_new_version_takes_over_and_nobody_is_turned_away(
    runtime, serve, artifacts_of, tmp_path, cell_png, eventually
):
    entry = RUNTIMES[runtime]
    pytest.importorskip(entry.module, reason=f"the extra {entry.extra!r} is not installed")
    artifacts = Path(shutil.copytree(artifacts_of(entry.format), tmp_path / "artifacts"))
    settings = ServiceSettings(runtime=runtime, artifacts=artifacts, resolutions_px=(28, 64), reload_s=LOOK_EVERY_S)
    folder = artifact_folder(artifacts, str(entry.format), 28)
    old, outcomes = sha256_of_file(folder / MANIFEST_FILE), []
    with serve(settings, tmp_path) as service:
        with asked_without_end(service, cell_png, outcomes):
            assert eventually(lambda: (200, old) in outcomes, WAIT_S)
            new = rewritten(folder, trained_on="more images")
            assert eventually(lambda: (200, new) in outcomes, WAIT_S)
        assert set(outcomes) == {(200, old), (200, new)}
        assert outcomes.index((200, new)) == outcomes.count((200, old)), "an old answer came after a new one"
        assert reloads(service, "done") == 1
        assert service.metric("hemabench_compilations_after_ready_total") == 0
        models = httpx.get(f"{service.url}/v1/models").json()["models"]
        assert {model["resolution"]: model["trained_on"] for model in models}[28] == "more images"
        assert httpx.get(f"{service.url}/v2/models/tiny-28px/ready").status_code == 200


@pytest.mark.acceptance("F5")
def test_after_a_bad_version_a_good_one_is_taken(reloading, artifacts, cell_png, eventually):
    folder = artifact_folder(artifacts, "onnx", 28)
    whole = (folder / "model.onnx").read_bytes()
    with_a_file_that_changed(folder)
    assert eventually(lambda: reloads(reloading, "refused") >= 1, WAIT_S)
    (folder / "model.onnx").write_bytes(whole)
    assert eventually(lambda: reloads(reloading, "done") == 1, WAIT_S)
    assert digest_of(reloading, cell_png) == sha256_of_file(folder / MANIFEST_FILE)
