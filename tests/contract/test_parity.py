from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from contract.errors import ManifestInvalid, ParityError
from contract.parity import PARITY_BATCHES, GoldenBatch, Tolerance, prove_parity, require_parity
from contract.preprocessing import scale_pixels

TOLERANCE = Tolerance()


def logits(images: int = 7, classes: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 5, (images, classes)).astype(np.float32)


def golden(images: int = 7) -> GoldenBatch:
    """Images, and the logits of a network that only sums their colours."""
    pixels = np.random.default_rng(1).integers(0, 256, (images, 4, 4, 3), dtype=np.uint8)
    return GoldenBatch(pixels, sum_of_colours(scale_pixels(pixels)))


def sum_of_colours(inputs: np.ndarray) -> np.ndarray:
    return inputs.sum(axis=(1, 2))


def test_equal_logits_pass_with_difference_zero() -> None:
    assert require_parity("a", logits(), logits(), TOLERANCE) == 0


@given(
    reference=arrays.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)),
    image=st.integers(0, 2),
    label=st.integers(0, 3),
    times=st.floats(2, 100),
)
def test_one_logit_beyond_the_tolerance_is_named(reference: np.ndarray, image: int, label: int, times: float) -> None:
    off = reference.copy()
    off[image, label] += times * (TOLERANCE.absolute + TOLERANCE.relative * abs(reference[image, label]))
    with pytest.raises(ParityError, match=f"logit {label} of golden image {image} is"):
        require_parity("a", off, reference, TOLERANCE)


@given(seed=st.integers(0, 1_000), share=st.floats(-0.9, 0.9))
def test_differences_within_the_tolerance_pass_and_the_largest_is_returned(seed: int, share: float) -> None:
    reference = logits(seed=seed)
    allowed = TOLERANCE.absolute + TOLERANCE.relative * np.abs(reference)
    off = (reference + np.float32(share) * allowed).astype(np.float32)
    if (off.argmax(axis=1) == reference.argmax(axis=1)).all():
        assert require_parity("a", off, reference, TOLERANCE) == np.abs(off - reference).max()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_never_passes_and_is_named(value: float) -> None:
    broken = logits()
    broken[2, 3] = value
    with pytest.raises(ParityError, match="logit 3 of golden image 2"):
        require_parity("a", broken, logits(), TOLERANCE)


def test_a_top_class_that_ties_with_the_references_is_accepted_and_one_further_off_is_not() -> None:
    reference = np.array([[1.0, 0.8, 0.0]], np.float32)
    found = np.array([[0.9, 0.95, 0.0]], np.float32)
    loose = Tolerance(absolute=0.3, relative=0.0, tie=0.3)
    assert require_parity("a", found, reference, loose) == pytest.approx(0.15)
    with pytest.raises(ParityError, match="1 top classes differ"):
        require_parity("a", found, reference, Tolerance(absolute=0.3, relative=0.0, tie=0.1))


def test_another_top_class_is_refused_even_within_the_tolerance_and_its_image_is_named() -> None:
    reference = logits()
    reference[4, :2] = (50.0, 50.001)
    close = reference.copy()
    close[4, :2] = (50.001, 50.0)
    with pytest.raises(ParityError, match=r"of golden image 4 .*\(0 of 56 logits are off, 1 top classes differ\)"):
        require_parity("a", close, reference, TOLERANCE)


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (7,), (7, 8, 1)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ParityError, match="have shape"):
        require_parity("a", np.zeros(shape, np.float32), logits(), TOLERANCE)


def test_a_failure_says_which_artifact_and_what_next() -> None:
    with pytest.raises(ParityError, match=r"hemanet/onnx/28px: .*Next: hemabench export"):
        require_parity("hemanet/onnx/28px", logits() + 1, logits(), TOLERANCE)


def test_every_batch_size_is_tried_over_all_images() -> None:
    seen: list[int] = []

    def predict(inputs: np.ndarray) -> np.ndarray:
        assert inputs.dtype == np.float32
        seen.append(len(inputs))
        return sum_of_colours(inputs)

    parity = prove_parity("a", predict, golden(7))
    assert seen == [1] * 7 + [5, 2]
    assert (parity.images, parity.batches) == (7, PARITY_BATCHES)
    assert parity.largest_difference <= 1e-5


def test_an_artifact_that_is_wrong_at_one_batch_size_only_is_caught() -> None:
    def predict(inputs: np.ndarray) -> np.ndarray:
        return sum_of_colours(inputs) + (len(inputs) == 5)

    with pytest.raises(ParityError, match="at batch 5"):
        prove_parity("a", predict, golden())


def test_an_artifact_that_mixes_up_images_is_caught() -> None:
    with pytest.raises(ParityError, match="at batch 5"):
        prove_parity("a", lambda inputs: sum_of_colours(inputs[::-1]), golden())


def test_a_golden_batch_comes_back_as_it_went(tmp_path: Path) -> None:
    written = golden()
    written.save(tmp_path / "golden.safetensors")
    read = GoldenBatch.load(tmp_path / "golden.safetensors")
    np.testing.assert_array_equal(read.images, written.images)
    np.testing.assert_array_equal(read.logits, written.logits)


IMAGES, LOGITS = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 8), np.float32)


@pytest.mark.parametrize(
    "arrays_",
    [
        {"images": IMAGES},
        {"images": IMAGES, "logits": LOGITS[:1]},
        {"images": IMAGES[:0], "logits": LOGITS[:0]},
        {"images": IMAGES.astype(np.float32), "logits": LOGITS},
        {"images": IMAGES[0], "logits": LOGITS},
        {"images": IMAGES, "logits": LOGITS[:, 0].copy()},
        {"images": IMAGES, "logits": LOGITS * np.float32(np.nan)},
    ],
    ids=["no-logits", "other-count", "empty", "float-images", "one-image", "flat-logits", "nan"],
)
def test_what_is_no_golden_batch_is_refused(tmp_path: Path, arrays_) -> None:
    save_file(arrays_, tmp_path / "g")
    with pytest.raises(ManifestInvalid, match="Next: hemabench export"):
        GoldenBatch.load(tmp_path / "g")


def test_a_missing_or_foreign_file_is_no_golden_batch(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(b"PK\x03\x04")
    for name in ("missing", "foreign"):
        with pytest.raises(ManifestInvalid, match="no golden batch"):
            GoldenBatch.load(tmp_path / name)
