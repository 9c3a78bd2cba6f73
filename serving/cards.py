"""The model card: what a served model is for, what it was measured on, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator

from contract.blood_cells import NOTICE
from serving.classifier import ServedModel

_INTENDED_USE = (
    "Comparing how frameworks and services run one and the same network. "
    "One centred, stained white blood cell, erythroblast or platelet to an image, taken as the training images were."
)
_LIMITS = (
    "The training images are normal cells of healthy donors in 8 classes: blasts, disease, artefacts and other "
    "cells are out of scope, and get one of the 8 labels all the same.",
    "Another microscope, stain or camera is another distribution; nothing here says how the model does there.",
    "Nothing recognises an image that is no blood cell.",
)


def model_card(served: ServedModel) -> str:
    """The card of ``served`` in Markdown, from its manifest and nothing else."""
    return "\n".join([*_head(served), *_scores(served), *_limits(served)]) + "\n"


def _head(served: ServedModel) -> Iterator[str]:
    name = served.name
    yield f"# {name.name}, {name.resolution} px, served by {name.runtime}"
    yield from ("", f"> **{NOTICE}**", "")
    yield f"- Intended use: {_INTENDED_USE}"
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
    yield from ("| score | value | 95 % interval | images | split | data |", "|---|---|---|---|---|---|")
    for metric in served.metrics:
        interval = f"{metric.low:.4f} to {metric.high:.4f}"
        yield f"| {metric.name} | {metric.value:.4f} | {interval} | {metric.images} | {metric.split} | {metric.data} |"


def _limits(served: ServedModel) -> Iterator[str]:
    yield from ("", "## Limits", "")
    yield from (f"- {limit}" for limit in _LIMITS)
    if served.is_calibrated:
        yield f"- Probabilities are softmax(logits / {served.temperature:g}), the temperature fitted on validation."
    else:
        yield "- Not calibrated: a probability of 0.9 does not mean that 9 of 10 such answers are right."
