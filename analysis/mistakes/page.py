"""A mistakes run as Markdown, for a document that keeps the result beside the command that made it."""

from __future__ import annotations

from analysis.markdown import libraries_line, machine_line, markdown_table
from analysis.mistakes.summary import Effect, MistakesSummary
from analysis.mistakes.tables import ANSWER_HEADINGS, answer_rows, effect_rows
from analysis.mistakes.wording import EXPECTATIONS, answer_sentences, time_text
from analysis.wording import runtime_name
from contract.blood_cells import NOTICE
from contract.records.mistakes import FRAMEWORKS

HEADINGS = ("mistake", "reported as", *map(runtime_name, FRAMEWORKS), "winner without → with", "")


def mistakes_page(summary: MistakesSummary, chart: str | None = None) -> str:
    """What the terminal shows, each mistake in words, and how to repeat it; ``chart`` names a picture of it."""
    plan = summary.plan
    lines = ["# Mistakes that pick winners", "", f"Made by `{plan.command}` at {plan.created}. {NOTICE}", ""]
    lines += [f"> {sentence}\n>" for sentence in answer_sentences(summary)]
    lines += ["", *_method(summary), ""]
    if chart is not None:
        lines += [f"![Reported time of each framework without and with each mistake, and the winner]({chart})", ""]
    lines += [*markdown_table(HEADINGS, effect_rows(summary.effects))]
    firsts = ", ".join(f"{runtime_name(name)} {time_text(summary.first_calls[name])}" for name in FRAMEWORKS)
    lines += ["", f"First calls, with nothing compiled before: {firsts} ms."]
    if rows := answer_rows(summary):
        lines += ["", "## Answers", "", f"Of {plan.images:,} test images ({plan.data_description}), one at a time.", ""]
        lines += markdown_table(ANSWER_HEADINGS, rows)
    lines += ["", "## The mistakes", ""]
    lines += [line for effect in summary.effects for line in _in_words(effect)]
    return "\n".join([*lines, *_machine(summary)])


def _method(summary: MistakesSummary) -> list[str]:
    plan = summary.plan
    return [
        f"The same weights in the three frameworks, one image of {plan.resolution_px} px, host array in, host array "
        "out. Carefully: PyTorch `torch.compile` in channels_last, TensorFlow `tf.function`, JAX `jit`, one thread on "
        "one core set before the import, logits held against a float64 reference, first call and warm-up apart. "
        f"{plan.processes} fresh processes per framework, all ways in random order in every round. Times in ms; a "
        "figure is the median over processes of what each process reports, with the 95 % interval of resampling "
        "processes, but for the mean of ten calls, where it is the middle 95 % of draws. A factor is time with the "
        "mistake ÷ time without. Frameworks tie where their intervals overlap.",
        *(f"\n**{warning}**" for warning in summary.warnings),
    ]


def _in_words(effect: Effect) -> list[str]:
    mistake = effect.mistake
    links = ", ".join(f"<{link}>" for link in mistake.evidence)
    who = ", ".join(runtime_name(name) for name in mistake.affected)
    return [
        f"- **{mistake.title}.** Somebody {mistake.done}: {mistake.why}. Made for {who}; expected: "
        f"{EXPECTATIONS[mistake.expected]}. Evidence: {links}."
    ]


def _machine(summary: MistakesSummary) -> list[str]:
    environment = summary.plan.environment
    before = f"Load average before the run {summary.plan.load_average:.2f}."
    return ["", "## Machine", "", machine_line(environment), before, "", libraries_line(environment), ""]
