"""P6: what is no single stained blood cell is told from what is, by the committed models."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image, ImageDraw

from contract.blood_cells import RESOLUTIONS_PX
from contract.dataset import SPLITS
from serving.http.images import decode_image, model_input
from train.checkpoints import checkpoint_path, load_checkpoint
from train.sources.pbc import read_index
from train.splits import assign_splits

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("HEMABENCH_DATA_ROOT", ROOT.parent / "shared" / "data"))
CELLS = 400
HALVES = {"left": (slice(None), slice(0, 100)), "top": (slice(0, 100), slice(None))}


@pytest.fixture(scope="module", params=RESOLUTIONS_PX)
def is_flagged(request):
    """Whether the committed model of a resolution calls a decoded image out of distribution."""
    checkpoint = load_checkpoint(checkpoint_path(ROOT / "exported_models" / "checkpoints", "hemanet", request.param))
    threshold = checkpoint.record.calibration.distance_threshold

    def flagged(image):
        return checkpoint.distribution.distance(model_input(image, request.param)) > threshold

    return flagged


@pytest.fixture(scope="module")
def held_out_cells():
    """Real cells of the test split, evenly spread over it, as the model's training images were cut out."""
    if not (DATA / "pbc" / "index.csv").is_file():
        pytest.skip("no pbc/ under the data root; set HEMABENCH_DATA_ROOT")
    images, groups = read_index(DATA / "pbc")
    splits = assign_splits([one.file for one in images], [one.label for one in images], seed=0, groups=groups)
    held_out = [one for one, split in zip(images, splits, strict=True) if SPLITS[split] == "test"]
    chosen = [held_out[int(at)] for at in np.linspace(0, len(held_out) - 1, CELLS)]
    cells = []
    for one in chosen:
        with ZipFile(DATA / "pbc" / one.archive) as archive:
            cells.append(Image.open(BytesIO(archive.read(one.file))).crop(one.window))
    return cells


@pytest.fixture(scope="module")
def other_images():
    """The files that show something else."""
    folders = (DATA / "images_out_of_distribution", DATA / "images_malformed" / "synthetic" / "ood")
    if missing := [folder for folder in folders if not folder.is_dir()]:
        pytest.skip(f"no {missing[0].name} under the data root; set HEMABENCH_DATA_ROOT")
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in {".jpg", ".png"}]
    return [decode_image(path.read_bytes()) for path in paths]


def noise(rng):
    return Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8))


def solid_colour(rng):
    return Image.new("RGB", (200, 200), tuple(int(part) for part in rng.integers(0, 256, 3)))


def text(rng):
    image = Image.new("RGB", (200, 200), "white")
    for row in range(4, 200, 12):
        ImageDraw.Draw(image).text((4, row), "".join(chr(rng.integers(33, 120)) for _ in range(40)), fill="black")
    return image


def stripes(rng):
    width = int(rng.integers(3, 30))
    bands = np.arange(200)[:, np.newaxis, np.newaxis] // width % 2
    return Image.fromarray((bands * rng.integers(60, 256, 3) * np.ones((200, 200, 1))).astype(np.uint8))


@pytest.mark.acceptance("P6")
@pytest.mark.real_data
def test_at_most_one_test_cell_in_twenty_is_rejected(is_flagged, held_out_cells):
    assert np.mean([is_flagged(cell) for cell in held_out_cells]) <= 0.05


@pytest.mark.acceptance("P6")
@pytest.mark.real_data
def test_nineteen_in_twenty_images_of_something_else_are_flagged(is_flagged, other_images):
    assert len(other_images) >= 67
    assert np.mean([is_flagged(image) for image in other_images]) >= 0.95


@pytest.mark.acceptance("P6")
@pytest.mark.parametrize("draw", [noise, solid_colour, text, stripes])
def test_what_was_drawn_and_is_no_cell_is_flagged(is_flagged, draw):
    rng = np.random.default_rng(4)
    assert np.mean([is_flagged(draw(rng)) for _ in range(20)]) >= 0.95


@pytest.mark.acceptance("P6")
@pytest.mark.real_data
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda pixels: 255 - pixels, id="inverted"),
        pytest.param(lambda pixels: pixels[..., ::-1], id="red and blue swapped"),
        pytest.param(lambda pixels: pixels[..., (1, 2, 0)], id="colours rotated"),
        pytest.param(lambda pixels: (pixels * 0.35).astype(np.uint8), id="dark"),
    ],
)
def test_a_real_cell_in_other_colours_is_flagged(is_flagged, held_out_cells, spoil):
    spoilt = [Image.fromarray(np.ascontiguousarray(spoil(np.asarray(cell)))) for cell in held_out_cells[::10]]
    assert np.mean([is_flagged(image) for image in spoilt]) >= 0.95


@pytest.mark.acceptance("P6")
@pytest.mark.real_data
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("colour", [0, 128, 255, None], ids=["black", "grey", "white", "its own ground"])
def test_a_real_cell_that_is_half_covered_is_flagged(is_flagged, held_out_cells, half, colour):
    covered = []
    for cell in held_out_cells[::10]:
        pixels = np.array(cell)
        pixels[HALVES[half]] = pixels[0, 0] if colour is None else colour
        covered.append(Image.fromarray(pixels))
    assert np.mean([is_flagged(image) for image in covered]) >= 0.95
