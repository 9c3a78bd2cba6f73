"""S: what is loaded, and what could be loaded with it. That nothing unpickles: ``test_boundaries.py``."""

from __future__ import annotations

import ast
import io
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from contract.errors import DataCorrupt, ManifestInvalid
from contract.manifest import FORMATS, MANIFEST_FILE, Manifest, artifact_folder, digests_of_files, load_artifact
from contract.manifest import save_manifest as save
from contract.storage import read_json
from serving.settings import ServiceSettings

ROOT = Path(__file__).parents[3]
STAGES = ("contract", "serving", "loadtest", "analysis", "train")
SOURCES = [path for stage in STAGES for path in sorted((ROOT / stage).rglob("*.py"))]

# The first versions without the holes that are known: CVE-2025-54381 and -27905 (BentoML), -2026-48710 and -54283
# (Starlette), -2026-42561 (multipart), -2025-43859 (h11), -2026-59203 and -59204 (Pillow), -2026-24747 (PyTorch),
# -2026-1462 (Keras), -2026-34446 and -34447 (ONNX).
SAFE = {
    "bentoml": (1, 4, 39),
    "starlette": (1, 3),
    "python-multipart": (0, 0, 27),
    "h11": (0, 16),
    "pillow": (12, 3),
    "torch": (2, 10),
    "keras": (3, 13, 2),
    "onnx": (1, 21),
}


def number_of(text):
    return tuple(int(part) for part in re.match(r"[\d.]+", text)[0].strip(".").split("."))


def names_used(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute | ast.Name):
            yield ast.unparse(node)
        elif isinstance(node, ast.keyword) and node.arg:
            yield f"{node.arg}={ast.unparse(node.value)}"


@pytest.mark.acceptance("S6")
@pytest.mark.parametrize("package", SAFE)
def test_no_version_with_a_known_hole_is_pinned_or_installed(package):
    lines = (ROOT / "constraints.txt").read_text().lower().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    assert number_of(pinned[package]) >= SAFE[package]
    assert number_of(version(package)) >= SAFE[package]


@pytest.mark.acceptance("S6")
@pytest.mark.parametrize("package", ["bentoml", "python-multipart", "pillow", "onnx", "torch"])
def test_the_lower_bounds_are_asked_for_at_installation(package):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    bounds = [re.match(rf"{package}(?:>=|==)([\d.]+)", line) for line in asked]
    found = [number_of(match[1]) for match in bounds if match]
    assert found
    assert min(found) >= SAFE[package]


@pytest.mark.acceptance("S2")
def test_no_keras_file_is_an_artifact_and_none_is_read_in_serving():
    assert not {Path(name).suffix for name in FORMATS.values()} & {".keras", ".h5"}
    for path in (path for path in SOURCES if ROOT / "serving" in path.parents):
        used = set(names_used(path))
        assert not {name for name in used if "load_model" in name and "keras" in name}, path
        assert not {"TFSMLayer", "Lambda", "enable_unsafe_deserialization"} & {name.split(".")[-1] for name in used}


@pytest.mark.acceptance("S7")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_second_service_no_task_and_no_archive_unpacked_whole(path):
    used = set(names_used(path))
    assert not used & {"bentoml.depends", "bentoml.task", "bentoml.runner_service", "bentoml.import_bento"}
    assert not {name for name in used if name.split(".")[-1] in {"extractall", "unpack_archive"}}


@pytest.fixture
def onnx_copy(onnx_artifacts, tmp_path):
    """A copy of the tiny artifact that may be spoilt."""
    artifacts = Path(shutil.copytree(onnx_artifacts, tmp_path / "artifacts"))
    return artifacts, artifact_folder(artifacts, "onnx", 28)


def list_anew(folder):
    """Make the manifest vouch for whatever lies in ``folder`` now: an artifact by somebody who means harm."""
    manifest = read_json(folder / MANIFEST_FILE, Manifest)
    manifest.files.clear()
    manifest.files.update(digests_of_files(folder))
    save(folder, manifest)


def with_external_data(path, location):
    import onnx

    model = onnx.load(str(path))
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "head")
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return data


@pytest.mark.acceptance("S3")
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "absolute"])
def test_weights_outside_the_onnx_file_are_refused(onnx_copy, location):
    artifacts, folder = onnx_copy
    where = str(artifacts / "weights.bin") if location == "absolute" else location
    data = with_external_data(folder / "model.onnx", where)
    (folder / where).write_bytes(data)
    list_anew(folder)
    with pytest.raises(Exception, match=r"beside the model|External data path"):
        load_in_onnx_runtime(folder)


@pytest.mark.acceptance("S3")
def test_the_onnx_file_passes_the_checker_and_holds_all_of_its_weights(onnx_copy):
    import onnx

    _, folder = onnx_copy
    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    load_in_onnx_runtime(folder)


def load_in_onnx_runtime(folder):
    from serving.runtimes import create_runtime

    return create_runtime("onnx").load(load_artifact(folder))


@pytest.mark.acceptance("S3")
def test_a_manifest_that_lists_more_than_the_model_is_refused(onnx_copy):
    _, folder = onnx_copy
    (folder / "extra.bin").write_bytes(b"anything")
    list_anew(folder)
    with pytest.raises(ManifestInvalid, match="beside the model"):
        load_in_onnx_runtime(folder)


@pytest.mark.acceptance("S5")
@pytest.mark.parametrize("file", ["model.onnx", "golden.safetensors"])
def test_a_changed_artifact_is_refused_before_a_parser_opens_it(onnx_copy, port, tmp_path, file):
    from contract.errors import DigestMismatch
    from serving.process.launch import prepare_launch

    artifacts, folder = onnx_copy
    damaged = bytearray((folder / file).read_bytes())
    damaged[len(damaged) // 3] ^= 4
    (folder / file).write_bytes(damaged)
    with pytest.raises(DigestMismatch, match=file):
        prepare_launch(ServiceSettings(artifacts=artifacts), port=port, cache=tmp_path)


def npy_that_claims(shape):
    """A header and nothing behind it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


MAP = """
import resource, sys
from pathlib import Path
from contract.dataset import save_dataset_facts
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    save_dataset_facts(Path(sys.argv[1]), source="x", description="x", real=False)
except Exception as error:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(type(error).__name__, peak.split()[1])
"""


@pytest.mark.acceptance("S4")
def test_an_array_that_claims_more_than_its_file_is_refused_without_memory_for_it(tmp_path):
    (tmp_path / "images.npy").write_bytes(npy_that_claims((2**35,)))
    ran = subprocess.run(
        [sys.executable, "-c", MAP, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    name, resident_kb = ran.stdout.split()
    assert name == DataCorrupt.__name__
    assert int(resident_kb) < 200_000


@pytest.mark.acceptance("S4")
def test_an_array_or_an_archive_of_arrays_is_no_image(onnx_service, classify):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../images.npy", bytes(20 << 20))
    before = onnx_service.metric("process_resident_memory_bytes")
    for content in (npy_that_claims((2**35,)), archive.getvalue()):
        assert classify(onnx_service, content).status_code == 415
    assert onnx_service.metric("process_resident_memory_bytes") - before < 200e6


@pytest.mark.real_data
@pytest.mark.acceptance("S4")
def test_the_arrays_of_the_corpus_are_refused(onnx_service, classify, corpus):
    files = sorted((corpus / "synthetic" / "arrays").iterdir())
    assert files
    before = onnx_service.metric("process_resident_memory_bytes")
    assert {classify(onnx_service, file.read_bytes()).status_code for file in files} == {415}
    assert onnx_service.metric("process_resident_memory_bytes") - before < 200e6
