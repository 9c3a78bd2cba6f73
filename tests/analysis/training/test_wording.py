"""What the tables of training are told with."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.training import wording
from analysis.training.page import training_page
from analysis.training.report import render_training_report
from analysis.training.summary import summarise_training

FRAMEWORKS = Path(__file__).parents[3] / "train" / "frameworks"


@pytest.mark.parametrize(("compiled", "said"), [(False, "PyTorch eager"), (True, "PyTorch through torch.compile")])
def test_above_the_speeds_stands_whose_steps_were_compiled_as_the_runs_settings_have_it(save_run, compiled, said):
    save_run("flax")
    save_run("keras")
    summary = summarise_training(save_run(settings={"compiled": compiled}))
    sentence = (
        "Speeds are of frameworks as their steps are run here: "
        f"JAX/Flax nnx.jit (XLA), TensorFlow/Keras a tf.function without XLA and {said}."
    )
    for told, first_heading in (
        (training_page(summary), "| images/s, steps alone |"),
        (render_training_report(summary, None), ">images/s, steps alone<"),
    ):
        assert sentence in told[: told.index(first_heading)]


def test_frameworks_whose_steps_are_compiled_are_written_as_the_sentence_says():
    keras, flax = ((FRAMEWORKS / f"{name}.py").read_text() for name in wording.STEPS)
    assert "tf.function(self._update" in keras
    assert "jit_compile" not in keras
    assert "@nnx.jit\n" in flax
