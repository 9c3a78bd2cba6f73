"""A newer version takes the place of a model that is being served; one that is bad is refused, and the old one goes on.

What is noticed is a manifest that has changed, because it is the last file of an artifact to
be written. The newer model is loaded beside the old one, proved and warmed as at the start, in a
thread of its own; the thread that answers only makes the first calls that are its own, in turns of the line.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from contract.errors import ManifestInvalid
from contract.manifest import MANIFEST_FILE, artifact_folder
from contract.storage import sha256_of_file
from serving.http.refusal import Refusal
from serving.inference.classifier import (
    FIRST_CALLS,
    WARM_UP_PREDICTIONS,
    Classifier,
    Loading,
    ServedModel,
    load_model,
    warm_up,
)
from serving.inference.line import Line
from serving.runtimes import RUNTIMES


def reloaded(classifier: Classifier, artifacts: Path, tell: Loading = lambda step: None) -> Classifier | None:
    """``classifier`` with the models of today's manifests in place of those that have changed; None where none has.

    Raises what `load_model` raises, and `ManifestInvalid` for another network: ``classifier`` is as it was.
    """
    changed = [side for side in classifier.models if _has_changed(classifier, artifacts, side)]
    if not changed:
        return None
    models = dict(classifier.models)
    for side in changed:
        tell(f"loading and proving the changed {classifier.runtime.name} at {side} px")
        newer = load_model(classifier.runtime, artifacts, side)
        _require_same_network(models[side], newer)
        warm_up(newer, WARM_UP_PREDICTIONS)
        models[side] = newer
    return replace(classifier, models=models)


async def warm_up_in_turns(models: Iterable[ServedModel], line: Line) -> None:
    """`FIRST_CALLS` of each of ``models``, which are warm but for them: a turn for each, as if it were a request."""
    for served in models:
        calls = 0
        while calls < FIRST_CALLS:
            with suppress(Refusal):  # the line's deadline is for those who wait for an answer
                async with line.turn():
                    warm_up(served, 1)
                    calls += 1


def _has_changed(classifier: Classifier, artifacts: Path, side: int) -> bool:
    format_ = RUNTIMES[classifier.runtime.name].format
    if format_ is None:
        return False
    manifest = artifact_folder(artifacts, format_, side) / MANIFEST_FILE
    try:
        return sha256_of_file(manifest) != classifier.models[side].name.digest
    except FileNotFoundError:
        return False  # it is being replaced


def _require_same_network(served: ServedModel, newer: ServedModel) -> None:
    for what, of_old, of_new in (
        ("is the network", served.name.name, newer.name.name),
        ("has the labels", served.labels, newer.labels),
    ):
        if of_old != of_new:
            raise ManifestInvalid(
                f"the changed artifact {what} {of_new}, not {of_old}; clients would not know. "
                "Next: serve it by a service of its own"
            )
