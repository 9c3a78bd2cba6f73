"""Draws the page's example images: one rendered cell of each class, never a real one.

.venv/bin/python docs/examples.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from contract.blood_cells import LABELS
from train.sources.synthetic import render_cells

FOLDER = Path(__file__).parents[1] / "serving" / "page" / "examples"
SIDE_PX = 128
SEED = 7


def draw(folder: Path) -> list[Path]:
    """A PNG per class in ``folder``, the same bytes wherever it is run."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = render_cells(len(LABELS), SIDE_PX, SEED)
    paths = [folder / f"{LABELS[label]}.png" for label in labels]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path, optimize=True)
    return paths


if __name__ == "__main__":
    draw(FOLDER)
