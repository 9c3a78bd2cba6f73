"""Stands where a runtime's offline prediction stands in a campaign: the same files in, the same file out."""

from __future__ import annotations

import argparse
from pathlib import Path

from contract.records.load import OfflinePredictions
from contract.storage import read_json, write_json

CLASS_INDEX = 3


def main() -> None:
    """Answer class 3 for every position, as the fake service does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--resolution", type=int, required=True)
    parser.add_argument("--positions-file", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.runtime == "untaught":
        raise SystemExit("untaught: there is nothing to predict with")
    positions = read_json(arguments.positions_file, tuple[int, ...])
    predictions = OfflinePredictions(
        runtime=arguments.runtime,
        resolution_px=arguments.resolution,
        artifact_digest="",
        data_source="noise",
        images=positions,
        classes=(CLASS_INDEX,) * len(positions),
    )
    write_json(arguments.output, predictions)


if __name__ == "__main__":
    main()
