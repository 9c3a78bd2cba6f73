"""Predictions without HTTP, to be compared with those over HTTP image by image.

python -m serving.inference.offline --runtime onnx --resolution 28 --dataset FOLDER --positions-file FILE --output FILE
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from contract.dataset import load_dataset
from contract.errors import DataCorrupt, HemaBenchError
from contract.preprocessing import scale_pixels
from contract.records.load import OfflinePredictions
from contract.storage import read_json, write_json
from serving.answers import probabilities_of
from serving.inference.classifier import load_model
from serving.inference.devices import parse_device
from serving.runtimes import create_runtime
from serving.settings import DEFAULT_ARTIFACTS, ServiceSettings


def predict_offline(
    settings: ServiceSettings, resolution_px: int, dataset: Path, positions: Sequence[int]
) -> OfflinePredictions:
    """The classes that ``settings.runtime`` gives to the images at ``positions``, one at a time as a service would.

    Runs in this process, which may hold no other framework.
    """
    data = load_dataset(dataset)
    if data.facts.resolution_px != resolution_px:
        raise DataCorrupt(f"{dataset} holds images of {data.facts.resolution_px} px, not {resolution_px}")
    runtime = create_runtime(settings.runtime, parse_device(settings.device), settings.threads)
    served = load_model(runtime, settings.artifacts, resolution_px)
    classes = []
    for position in positions:
        logits = served.model.predict(scale_pixels(data.images[position : position + 1]))
        probabilities = probabilities_of(logits[0], served.temperature)
        classes.append(probabilities.index(max(probabilities)))
    return OfflinePredictions(
        runtime=settings.runtime,
        resolution_px=resolution_px,
        artifact_digest=served.name.digest,
        data_source=data.facts.source,
        images=tuple(positions),
        classes=tuple(classes),
    )


def main() -> None:
    """Write `OfflinePredictions` to ``--output``; the last words on standard error say why it cannot."""
    parser = argparse.ArgumentParser(prog="python -m serving.inference.offline", description=main.__doc__)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--resolution", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--artifacts", type=Path, default=DEFAULT_ARTIFACTS)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--positions-file", type=Path, required=True, help="a JSON list")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    try:
        settings = ServiceSettings(
            runtime=given.runtime, device=given.device, threads=given.threads, artifacts=given.artifacts
        )
        positions = read_json(given.positions_file, list[int])
        write_json(given.output, predict_offline(settings, given.resolution, given.dataset, positions))
    except HemaBenchError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
