"""What the runs of one network get wrong together: how much another seed could win, and what none of them can see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.statistics import Figure, proportion
from analysis.training.scores import probabilities
from analysis.training.summary import NetworkFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonErrors:
    """Counts of test images over all ``runs`` of a network, whatever their framework.

    ``together`` is the accuracy of the mean of their probabilities. An image that every run
    gets wrong is one that this network cannot tell, or whose label is in doubt.
    """

    runs: int
    wrong_in_every_run: int
    wrong_in_some_run: int
    together: Figure


def common_errors(network: NetworkFigures) -> CommonErrors | None:
    """None for a single run, which has nothing in common with another.

    Probabilities are taken at each run's temperature, where it has one, so that no run counts for more.
    """
    runs = network.runs
    if len(runs) < 2:
        return None
    labels = runs[0].test.labels
    wrong = np.array([figures.test.logits.argmax(axis=1) != labels for figures in runs])
    chances = sum(probabilities(figures.test.logits, figures.run.temperature or 1.0) for figures in runs)
    right = int((np.asarray(chances).argmax(axis=1) == labels).sum())
    return CommonErrors(
        runs=len(runs),
        wrong_in_every_run=int(wrong.all(axis=0).sum()),
        wrong_in_some_run=int(wrong.any(axis=0).sum()),
        together=proportion(right, len(labels)),
    )
