"""hemanet in int8, from the committed weights and rendered cells that its own float32 answers label."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.dataset import SPLITS, Dataset, dataset_folder, load_dataset, save_dataset_facts
from contract.errors import AccuracyLost, ArtifactUnavailable, DataCorrupt, DataUnavailable, InvalidSettings
from contract.manifest import artifact_folder, load_artifact
from contract.preprocessing import scale_pixels
from contract.progress import silent
from train.checkpoints import checkpoint_path, load_checkpoint, save_checkpoint
from train.export import ExportSettings, export_all
from train.quantisation.making import INT8, calibration_batches, quantise_all
from train.quantisation.network import CALIBRATION_IMAGES, predict_of
from train.sources.synthetic import render_cells
from train.training import Trained

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "exported_models" / "checkpoints"
IMAGES = 600


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportSettings:
    """hemanet in ONNX at 28 px."""
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    folder = tmp_path_factory.mktemp("exported")
    settings = ExportSettings(
        resolutions_px=(28,), formats=("onnx", INT8), checkpoints=COMMITTED, artifacts=folder / "artifacts"
    )
    export_all(settings, silent)
    return settings


@pytest.fixture
def settings(exported: ExportSettings, tmp_path: Path) -> ExportSettings:
    """The same with artifacts of the test's own."""
    shutil.copytree(exported.artifacts, tmp_path / "artifacts")
    return replace(exported, artifacts=tmp_path / "artifacts", checkpoints=tmp_path / "checkpoints")


@pytest.fixture
def cached(settings: ExportSettings, tmp_path: Path) -> Callable[..., Path]:
    """Puts rendered cells into a cache and says in the checkpoint that the weights are of them; returns the cache."""

    def build(logits_of: Callable[[np.ndarray], np.ndarray], *, black_training_images: bool = False) -> Path:
        cache = tmp_path / "cache"
        folder = dataset_folder(cache, "synthetic", 28)
        folder.mkdir(parents=True)
        images, logits = sure_of(render_cells(IMAGES, 28, 5)[0], logits_of)
        splits = (np.arange(len(images)) % len(SPLITS)).astype(np.uint8)
        if black_training_images:
            images[splits == SPLITS.index("train")] = 0
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", logits.argmax(axis=1).astype(np.uint8))
        np.save(folder / "splits.npy", splits)
        _claim(settings, save_dataset_facts(folder, source="synthetic", description="rendered", real=False))
        return cache

    return build


def _claim(settings: ExportSettings, dataset: Dataset) -> None:
    found = load_checkpoint(checkpoint_path(COMMITTED, "hemanet", 28))
    record = replace(found.record, data_source="synthetic", data_digest=dataset.facts.images_sha256)
    path = checkpoint_path(settings.checkpoints, "hemanet", 28)
    path.parent.mkdir()
    save_checkpoint(path, Trained(found.weights, record, distribution=found.distribution))


def answers_of(settings: ExportSettings, format_: str = "onnx") -> Callable[[np.ndarray], np.ndarray]:
    path = load_artifact(artifact_folder(settings.artifacts, format_, 28)).model_path
    return lambda images: predict_of(path)(scale_pixels(images))


def sure_of(images: np.ndarray, logits_of: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The images with one clear answer: weights that learnt real cells find many rendered ones between two classes."""
    logits = logits_of(images)
    second, first = np.sort(logits, axis=1)[:, -2:].T
    clear = first - second > 2
    return images[clear], logits[clear]


def test_the_artifact_is_smaller_as_accurate_and_says_what_it_lost(settings, cached):
    cache = cached(answers_of(settings))
    (made,) = quantise_all(settings, cache, silent).artifacts
    source = load_artifact(artifact_folder(settings.artifacts, "onnx", 28))
    assert made.model_path.stat().st_size < source.model_path.stat().st_size / 2
    assert made.manifest.weights_digest == source.manifest.weights_digest
    assert made.manifest.parity.tolerance.classes_only
    test, int8, float32, lost = made.manifest.metrics
    assert (test.split, int8.split, float32.value) == ("test", "validation", 1.0)
    assert lost.value == pytest.approx(float32.value - int8.value)
    assert 0 <= lost.value <= 0.01
    assert made.manifest.files.keys() == source.manifest.files.keys()

    (again,) = quantise_all(settings, settings.artifacts / "no cache", silent).artifacts
    assert again.digest == made.digest, "a current artifact needs no images"


def test_a_network_that_loses_too_much_is_refused_and_nothing_is_left(settings, cached):
    # Ranges taken from black images cut off what real ones make of the activations.
    cache = cached(answers_of(settings), black_training_images=True)
    with pytest.raises(AccuracyLost, match="validation images are recognised in int8"):
        quantise_all(settings, cache, silent)
    (refusal,) = quantise_all(settings, cache, silent, required=False).refusals
    assert refusal.startswith("onnx_int8 at 28 px was not made. hemanet/onnx_int8/28px: ")
    assert list((settings.artifacts / INT8).iterdir()) == []


def test_without_its_images_the_refusal_names_the_command(settings, cached, tmp_path):
    cached(answers_of(settings))
    with pytest.raises(DataUnavailable, match="Next: hemabench data"):
        quantise_all(settings, tmp_path / "empty", silent)
    (refusal,) = quantise_all(settings, tmp_path / "empty", silent, required=False).refusals
    assert "no data set in" in refusal


def test_an_artifact_of_other_weights_does_not_outlive_them(settings, cached):
    quantise_all(settings, cached(answers_of(settings)), silent)
    folder = artifact_folder(settings.artifacts, INT8, 28)
    path = checkpoint_path(settings.checkpoints, "hemanet", 28)
    export_all(replace(settings, formats=("onnx",)), silent)
    assert folder.is_dir(), "it is of the same weights"
    found = load_checkpoint(path)
    other = {name: array * np.float32(1.001) for name, array in found.weights.items()}
    save_checkpoint(path, Trained(other, found.record, distribution=found.distribution))
    export_all(replace(settings, formats=("onnx",)), silent)
    with pytest.raises(ArtifactUnavailable, match="Next: hemabench export"):
        load_artifact(folder)


def test_ctrl_c_lets_the_process_remove_what_it_had_half_built(settings, cached):
    def stop(what: str, *_: float) -> None:
        if what.startswith("measure accuracy"):
            raise KeyboardInterrupt

    cache = cached(answers_of(settings))
    with pytest.raises(KeyboardInterrupt):
        quantise_all(settings, cache, stop)
    assert list((settings.artifacts / INT8).iterdir()) == []


def test_an_image_that_was_damaged_sets_no_scale(settings, cached):
    cache = cached(answers_of(settings))
    images = dataset_folder(cache, "synthetic", 28) / "images.npy"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    with pytest.raises(DataCorrupt, match=r"images\.npy changed"):
        quantise_all(settings, cache, silent)


def test_calibration_takes_the_same_training_images_each_time(settings, cached):
    dataset = load_dataset(dataset_folder(cached(answers_of(settings)), "synthetic", 28))
    first, again = (np.concatenate(list(calibration_batches(dataset))) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    of_training = {image.tobytes() for image in scale_pixels(dataset.images[dataset.indices("train")])}
    assert len(first) == min(CALIBRATION_IMAGES, len(of_training))
    assert {image.tobytes() for image in first} <= of_training


def test_a_quantised_format_is_asked_for_with_what_it_is_made_from():
    settings = ExportSettings(formats=(INT8,))
    assert (settings.native_formats, settings.quantised_formats) == (("onnx",), (INT8,))
    with pytest.raises(InvalidSettings, match="onnx_int8"):
        ExportSettings(formats=("onnx_int4",))
