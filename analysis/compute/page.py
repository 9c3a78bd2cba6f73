"""A compute run as Markdown, for documents that keep a result beside the command that made it."""

from __future__ import annotations

from analysis.compute.claims import answered_claims, fastest_sentences, harness_sentence
from analysis.compute.summary import ComputeSummary
from analysis.compute.words import all_tables, findings
from analysis.markdown import libraries_line, machine_line, markdown_table
from contract.blood_cells import NOTICE


def compute_page(summary: ComputeSummary) -> str:
    """What the terminal shows of ``summary``, with the machine and how to repeat it."""
    plan, environment = summary.run.plan, summary.run.plan.environment
    lines = [f"# Pure compute, run {plan.run}", "", f"Made by `{plan.command}` at {plan.created}. {NOTICE}", ""]
    lines += [f"- {sentence}" for sentence in (*fastest_sentences(summary), harness_sentence(summary))]
    lines += ["", "## What a study claims", ""]
    for one in answered_claims(summary):
        lines += [f"**“{one.claim}”** {one.answer}", ""]
    for table in all_tables(summary):
        lines += [f"## {table.title}", "", *markdown_table(table.headings, table.rows), "", table.note, ""]
    found = findings(summary) or ["Every cell is valid, without a warning."]
    lines += ["## What to know of the cells", "", *(f"- {line}" for line in found), "", "## Machine", ""]
    lines += [machine_line(environment), f"Device {plan.device}.", "", libraries_line(environment), ""]
    return "\n".join(lines)
