from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ArtifactUnavailable, DigestMismatch, ManifestInvalid
from contract.manifest import (
    FORMATS,
    GOLDEN_FILE,
    MANIFEST_FILE,
    Artifact,
    Manifest,
    Metric,
    artifact_folder,
    digests_of_files,
    load_artifact,
    save_manifest,
)
from contract.parity import GoldenBatch, Parity, Tolerance
from contract.storage import sha256_of_file, write_json


def manifest(folder: Path, **changes: Any) -> Manifest:
    facts: dict[str, Any] = {
        "model": "hemanet",
        "spec_digest": "s" * 64,
        "format": "saved_model",
        "resolution_px": 28,
        "weights_digest": "w" * 64,
        "trained_on": "pbc",
        "files": digests_of_files(folder),
        "versions": {"tensorflow": "2.21.0"},
        "parity": Parity(largest_difference=1e-6, images=16, batches=(1, 5), tolerance=Tolerance()),
        "metrics": (Metric(name="accuracy", value=0.98, low=0.97, high=0.99, images=100, data="pbc", split="test"),),
    }
    return Manifest(**facts | changes)


def write_artifact(folder: Path) -> Artifact:
    """A SavedModel-like folder: files in two levels, and a golden batch."""
    for name, content in {"saved_model/model.pb": b"graph", "saved_model/variables/data": b"weights"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    GoldenBatch(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 8), np.float32)).save(folder / GOLDEN_FILE)
    return save_manifest(folder, manifest(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = artifact_folder(tmp_path, "saved_model", 28)
    write_artifact(folder)
    return folder


def test_an_artifact_is_loaded_as_it_was_saved(folder: Path) -> None:
    artifact = load_artifact(folder)
    assert artifact.manifest == manifest(folder)
    assert artifact.name == "hemanet/saved_model/28px"
    assert artifact.model_path == folder / "saved_model"
    assert artifact.digest == sha256_of_file(folder / MANIFEST_FILE)
    assert len(artifact.golden().images) == 2


def test_every_file_but_the_manifest_itself_is_listed(folder: Path) -> None:
    assert set(load_artifact(folder).manifest.files) == {
        "golden.safetensors",
        "saved_model/model.pb",
        "saved_model/variables/data",
    }


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: change(f / "saved_model/model.pb"), "model.pb changed"),
        (lambda f: (f / "saved_model/variables/data").unlink(), "data is missing"),
        (lambda f: (f / "extra.py").write_bytes(b""), "extra.py is not listed"),
        (lambda f: (f / ".hidden").write_bytes(b""), ".hidden is not listed"),
        (lambda f: (f / "saved_model" / MANIFEST_FILE).write_bytes(b"{}"), "saved_model/manifest.json is not listed"),
        (lambda f: change(f / GOLDEN_FILE), "golden.safetensors changed"),
    ],
    ids=["changed", "missing", "extra", "hidden", "a-second-manifest", "golden"],
)
def test_a_file_that_is_not_what_the_manifest_says_is_refused(
    folder: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder)
    with pytest.raises(DigestMismatch, match=rf"{message}.*Next: hemabench export --force"):
        load_artifact(folder)


@pytest.mark.parametrize("what", ["file", "folder", "dangling"])
@pytest.mark.acceptance("S3")
def test_links_are_refused_even_to_equal_bytes(folder: Path, tmp_path: Path, what: str) -> None:
    if what == "file":
        target = tmp_path / "elsewhere"
        (folder / "saved_model/model.pb").rename(target)
        (folder / "saved_model/model.pb").symlink_to(target)
    elif what == "folder":
        (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    else:
        (folder / "linked").symlink_to(tmp_path / "nothing")
    with pytest.raises(DigestMismatch, match="is a link"):
        load_artifact(folder)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@pytest.mark.acceptance("S5")
def test_one_flipped_bit_anywhere_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("artifact")
    artifact = write_artifact(folder)
    files = sorted(artifact.manifest.files)
    path = folder / files[place % len(files)]
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    with pytest.raises(DigestMismatch):
        load_artifact(folder)


def test_a_folder_without_a_manifest_is_no_artifact(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(ArtifactUnavailable, match="Next: hemabench export"):
        load_artifact(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": 3}', b"\xff"])
def test_an_unreadable_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ManifestInvalid, match=r"manifest\.json"):
        load_artifact(folder)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/model.pb", "saved_model/../../x"])
def test_a_manifest_cannot_point_outside_its_folder(folder: Path, path: str) -> None:
    with pytest.raises(ManifestInvalid, match="outside the artifact"):
        manifest(folder, files={path: "0" * 64})


def test_an_unknown_format_is_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(ManifestInvalid, match="known: torch_export, saved_model, stablehlo, onnx"):
        manifest(folder, format="pickle")


def test_a_manifest_of_another_release_is_refused_when_read(folder: Path) -> None:
    written = (folder / MANIFEST_FILE).read_text()
    (folder / MANIFEST_FILE).write_text(written.replace('"manifest_version": 1', '"manifest_version": 2'))
    with pytest.raises(ManifestInvalid, match="version 2"):
        load_artifact(folder)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_has_its_own_place(tmp_path: Path, format_: str) -> None:
    artifact = Artifact(tmp_path, replace(manifest(tmp_path), format=format_), "d")
    assert artifact.model_path == tmp_path / FORMATS[format_]
    assert artifact_folder(tmp_path, format_, 64) == tmp_path / format_ / "64px"


def test_saving_checks_what_it_saved(folder: Path) -> None:
    with pytest.raises(DigestMismatch):
        save_manifest(folder, manifest(folder, files={}))


def test_a_manifest_is_readable_json(folder: Path) -> None:
    again = folder.parent / "again.json"
    write_json(again, load_artifact(folder).manifest)
    assert again.read_bytes() == (folder / MANIFEST_FILE).read_bytes()
