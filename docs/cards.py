"""Writes docs/cards.md, the model cards of the committed weights, from the records inside them.

.venv/bin/python docs/cards.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from contract.architecture import spec_named
from contract.blood_cells import NOTICE, RESOLUTIONS_PX
from contract.weights import digest_of_weights
from serving.inference.cards import INTENDED_USE, LIMITS, LIMITS_OF_BLOOD_CELLS
from train.checkpoints import Checkpoint, checkpoint_path, load_checkpoint

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "docs" / "cards.md"
CHECKPOINTS = ROOT / "exported_models" / "checkpoints"
NETWORK = "hemanet"


def cards() -> str:
    """The page: what holds for all four, then a card for each."""
    sides = {side: load_checkpoint(checkpoint_path(CHECKPOINTS, NETWORK, side)) for side in RESOLUTIONS_PX}
    lines = [
        "# Cards of the committed networks",
        "",
        f"> **{NOTICE}**",
        "",
        "Written by `docs/cards.py` from the records inside the checkpoints; a test holds that this page is current. A",
        "service gives the card of what it serves, with its artifact and parity, at `GET /v1/card`.",
        "",
        f"- Intended use: {INTENDED_USE}",
        f"- Limits: {LIMITS_OF_BLOOD_CELLS}",
        *(f"- {limit}" for limit in LIMITS),
        "- Temperature and threshold were fitted on validation images. How the weights came about, and where they fall",
        "  short: [training](results/training.md).",
        "- Intervals of shares are Wilson's, those of a calibration error (15 bins of equal width) a bootstrap's.",
    ]
    for side, checkpoint in sides.items():
        lines += ["", *_card(side, checkpoint)]
    return "\n".join(lines) + "\n"


def _card(side: int, checkpoint: Checkpoint) -> Iterator[str]:
    record, spec = checkpoint.record, spec_named(NETWORK)
    settings, calibration = record.settings, record.calibration
    yield f"## {NETWORK}, {side} px"
    yield ""
    yield f"- Network: {spec.parameter_count:,} parameters, {spec.flops(side) / 1e6:,.1f} MFLOP for an image"
    yield f"- Weights: SHA-256 `{digest_of_weights(checkpoint.weights)}`"
    yield f"- Data: {record.data_description}; digest `{record.data_digest[:12]}`"
    yield (
        f"- Training: {settings.framework}, seed {settings.seed}, {len(record.epochs)} epochs, {settings.precision}, "
        f"from {record.started_from or 'random weights'}"
    )
    yield f"- Machine: {record.environment.cpu_model}, cores used: {record.environment.cores}"
    yield f"- Reproducible: {record.reproducible or 'not tried'}"
    if calibration is not None:
        yield (
            f"- Calibration: temperature {calibration.temperature:.3f}; out of distribution above a distance of "
            f"{calibration.distance_threshold:.1f}; fitted on {calibration.images:,} validation images"
        )
    yield ""
    yield "| score | value | 95 % interval | images | split |"
    yield "|---|---:|---|---:|---|"
    for metric in record.metrics:
        interval = f"{100 * metric.low:.2f} to {100 * metric.high:.2f}"
        yield f"| {metric.name} | {100 * metric.value:.2f} % | {interval} | {metric.images:,} | {metric.split} |"


if __name__ == "__main__":
    CARDS.write_text(cards())
