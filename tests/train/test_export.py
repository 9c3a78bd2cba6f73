"""Every framework exports for real, in its own process, and the artifact is proved before it counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.calibration import STATISTICS, Calibration, Distribution
from contract.errors import ArtifactUnavailable, DigestMismatch, ExportFailed, InvalidSettings
from contract.manifest import DISTRIBUTION_FILE, FORMATS, QUANTISED_FROM, load_artifact
from contract.parity import PARITY_BATCHES
from contract.progress import silent
from contract.weights import digest_of_weights
from train.checkpoints import checkpoint_path, load_checkpoint, save_checkpoint
from train.export import GOLDEN_IMAGES, ExportSettings, Job, export_all, golden_batch, kept_golden_batch
from train.frameworks import FRAMEWORKS
from train.scratch import built_for
from train.training import Trained


@pytest.fixture
def settings(save_trained, tmp_path: Path) -> ExportSettings:
    return ExportSettings(resolutions_px=(28,), checkpoints=save_trained(), artifacts=tmp_path / "artifacts")


def test_the_three_frameworks_export_every_format_between_them():
    exported = [format_ for entry in FRAMEWORKS.values() for format_ in entry.formats]
    assert sorted(exported) == sorted(FORMATS.keys() - QUANTISED_FROM.keys())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_exports_proved_artifacts_and_leaves_current_ones_alone(framework, settings):
    settings = replace(settings, formats=FRAMEWORKS[framework].formats)
    made = export_all(settings, silent)
    assert [artifact.manifest.format for artifact in made] == list(settings.formats)
    weights = load_checkpoint(checkpoint_path(settings.checkpoints, "hemanet", 28)).weights
    for artifact in made:
        manifest = artifact.manifest
        assert manifest.weights_digest == digest_of_weights(weights)
        assert (manifest.parity.images, manifest.parity.batches) == (GOLDEN_IMAGES, PARITY_BATCHES)
        assert 0 < manifest.parity.largest_difference < 1e-4
        assert manifest.metrics[0].split == "test"
        assert (manifest.trained_on, manifest.splits_sha256) == ("rendered", "5" * 64)

    steps: list[str] = []
    assert [a.digest for a in export_all(settings, lambda what, *_: steps.append(what))] == [a.digest for a in made]
    assert steps == ["artifacts are up to date"]


def test_artifacts_are_made_and_proved_on_the_processor_whatever_the_environment_says_of_cards(settings, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    (made,) = export_all(replace(settings, formats=("stablehlo",)), silent)
    assert made.manifest.parity.largest_difference < 1e-4


def test_a_damaged_artifact_is_noticed_and_made_again(settings):
    settings = replace(settings, formats=("onnx",))
    (made,) = export_all(settings, silent)
    content = bytearray(made.model_path.read_bytes())
    content[-1] ^= 1
    made.model_path.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"model\.onnx changed"):
        load_artifact(made.folder)
    (again,) = export_all(settings, silent)
    assert again.manifest.weights_digest == made.manifest.weights_digest


def test_new_weights_make_artifacts_out_of_date(settings, save_trained):
    settings = replace(settings, formats=("onnx",))
    (first,) = export_all(settings, silent)
    save_trained(seed=1)
    (second,) = export_all(settings, silent)
    assert second.manifest.weights_digest != first.manifest.weights_digest


def test_what_a_killed_export_had_half_built_is_swept_and_what_is_being_built_is_not(settings):
    settings = replace(settings, formats=("onnx",))
    left = settings.artifacts / "onnx_int8" / ".28px.killed" / "28px"
    left.mkdir(parents=True)
    with built_for(settings.artifacts / "onnx" / "64px") as building:
        export_all(settings, silent)
        assert building.is_dir()
    assert not left.parent.exists()
    assert [path.name for path in (settings.artifacts / "onnx").iterdir()] == ["28px"]


def test_another_distribution_makes_artifacts_out_of_date(settings):
    settings = replace(settings, formats=("onnx",))
    path = checkpoint_path(settings.checkpoints, "hemanet", 28)
    digests = []
    for mean in (0, 1):
        distribution = Distribution(np.full(STATISTICS, mean, np.float32), np.eye(STATISTICS, dtype=np.float32))
        calibration = Calibration(temperature=1.0, distance_threshold=9.0, images=100)
        found = load_checkpoint(path)
        record = replace(found.record, calibration=calibration)
        save_checkpoint(path, Trained(found.weights, record, distribution=distribution))
        (made,) = export_all(settings, silent)
        assert made.manifest.files[DISTRIBUTION_FILE] == distribution.sha256
        digests.append(made.digest)
    assert len(set(digests)) == 2


def test_a_failing_framework_is_reported_with_its_own_words_and_leaves_nothing(settings, monkeypatch):
    monkeypatch.setitem(FRAMEWORKS, "pytorch", replace(FRAMEWORKS["pytorch"], formats=("saved_model",)))
    monkeypatch.setitem(FRAMEWORKS, "keras", replace(FRAMEWORKS["keras"], formats=()))
    with pytest.raises(ExportFailed, match="pytorch does not export 'saved_model'"):
        export_all(replace(settings, formats=("saved_model",)), silent)
    assert not list(settings.artifacts.rglob("*.*"))


def test_without_a_checkpoint_the_error_names_the_command(tmp_path):
    settings = ExportSettings(resolutions_px=(28,), checkpoints=tmp_path, artifacts=tmp_path)
    with pytest.raises(ArtifactUnavailable, match="hemabench train"):
        export_all(settings, silent)


def test_an_unknown_format_is_refused():
    with pytest.raises(InvalidSettings, match="choose from: torch_export"):
        ExportSettings(formats=("pickle",))


def test_a_job_is_read_as_it_is_written():
    assert Job.parse(str(Job("onnx", 64))) == Job("onnx", 64)
    with pytest.raises(ValueError, match="invalid literal"):
        Job.parse("onnx")


def test_the_golden_batch_is_the_same_every_time(settings):
    checkpoint = load_checkpoint(checkpoint_path(settings.checkpoints, "hemanet", 28))
    first, again = golden_batch(checkpoint, 28), golden_batch(checkpoint, 28)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.logits, again.logits)


def test_a_golden_batch_is_computed_once_for_all_formats_of_a_run(settings, tmp_path, monkeypatch):
    checkpoint = load_checkpoint(checkpoint_path(settings.checkpoints, "hemanet", 28))
    first = kept_golden_batch(checkpoint, 28, tmp_path)
    monkeypatch.setattr("train.export.golden_batch", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(kept_golden_batch(checkpoint, 28, tmp_path).logits, first.logits)
