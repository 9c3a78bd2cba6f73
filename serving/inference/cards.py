"""The model card: what a served model is for, what it was measured on, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator

from contract.blood_cells import LABELS, NOTICE
from serving.inference.classifier import ServedModel

INTENDED_USE = (
    "Comparing how frameworks and services run one and the same network. "
    "One centred, stained white blood cell, erythroblast or platelet to an image, taken as the training images were."
)
LIMITS = (
    "Another microscope, stain or camera is another distribution; nothing here says how the model does there.",
    "The training images carry no patient identifiers: cells of one patient may be in training and test alike.",
)
LIMITS_OF_BLOOD_CELLS = (
    "The training images are normal cells of healthy donors in 8 classes: blasts, disease, artefacts and other "
    "cells are out of scope, and get one of the 8 labels all the same."
)


def model_card(served: ServedModel) -> str:
    """The card of ``served`` in Markdown, from its manifest and nothing else."""
    return "\n".join([*_head(served), *_scores(served), *_calibration(served), *_limits(served)]) + "\n"


def _head(served: ServedModel) -> Iterator[str]:
    name = served.name
    yield f"# {name.name}, {name.resolution} px, served by {name.runtime}"
    yield from ("", f"> **{NOTICE}**", "")
    yield f"- Intended use: {INTENDED_USE}"
    yield f"- Data: {served.trained_on or 'none: this model answers without looking'}"
    yield f"- Classes: {', '.join(served.labels)}"
    yield f"- Artifact: {served.format or 'none'}, manifest SHA-256 `{name.digest}`"
    yield f"- Weights: SHA-256 `{served.weights_digest or 'none'}`"
    if served.parity is not None:
        yield f"- Parity: logits within {served.parity.largest_difference:.1e} of the reference, proved at start"


def _scores(served: ServedModel) -> Iterator[str]:
    yield from ("", "## Scores", "")
    if not served.metrics:
        yield "None were measured."
        return
    yield "Intervals of shares are Wilson's, those of a calibration error (15 bins of equal width) a bootstrap's."
    yield from ("", "| score | value | 95 % interval | images | split | data |", "|---|---|---|---|---|---|")
    for metric in served.metrics:
        interval = f"{metric.low:.4f} to {metric.high:.4f}"
        yield f"| {metric.name} | {metric.value:.4f} | {interval} | {metric.images} | {metric.split} | {metric.data} |"


def _calibration(served: ServedModel) -> Iterator[str]:
    yield from ("", "## Calibration", "")
    if served.is_calibrated:
        yield f"- Probabilities are softmax(logits / {served.temperature:g}), the temperature fitted on validation."
    else:
        yield "- Not calibrated: a probability of 0.9 does not mean that 9 of 10 such answers are right."
    if served.distance_threshold is None:
        yield "- Nothing recognises an image that is unlike the training images."
        return
    yield (
        f"- An answer says `in_distribution: false` where the image's distance from the training images is above "
        f"{served.distance_threshold:g}, the distance within which 98 % of the validation images lie."
    )
    yield (
        "- The distance looks at colours and texture, not at cells: it finds whole fields, other objects, covered "
        "or recoloured images, and not a cell of a class that was never seen."
    )


def _limits(served: ServedModel) -> Iterator[str]:
    yield from ("", "## Limits", "")
    if served.labels == LABELS:
        yield f"- {LIMITS_OF_BLOOD_CELLS}"
    yield from (f"- {limit}" for limit in LIMITS)
