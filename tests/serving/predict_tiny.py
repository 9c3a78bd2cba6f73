"""Logits of a runtime without a service, in a process that holds no other framework.

python predict_tiny.py <runtime> <artifacts folder> <resolution> <images.npy> <logits.npy>
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from serving.inference.classifier import load_model
from serving.runtimes import create_runtime


def main(runtime: str, artifacts: str, resolution: str, images: str, logits: str) -> None:
    served = load_model(create_runtime(runtime), Path(artifacts), int(resolution))
    np.save(logits, served.model.predict(np.load(images)))


if __name__ == "__main__":
    main(*sys.argv[1:])
