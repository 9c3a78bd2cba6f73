"""The page of what load tests are worth: whether others agree, a curve to saturation, a stall that is seen."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.load.page import curve_lines
from analysis.load.runs import Run
from analysis.load.summary import RunSummary, summarise
from analysis.markdown import machine_line, markdown_table
from analysis.side_by_side.agreement import RefereeSummary
from analysis.side_by_side.referees import agreement_lines, agreement_sentence
from analysis.statistics import Figure, median, percentile
from analysis.wording import interval_of, scenario_name, value_of
from contract.blood_cells import NOTICE
from contract.records.load import Scenario
from contract.timing import NS_PER_MS

_STALL = ("load", "made by", "answers", "p50 ms", "p95 ms", "longest ms", "the run's own verdict")


def trust_page(command: str, referees: RefereeSummary, ladder: RunSummary, stalled: Sequence[Run], stall: str) -> str:
    """All three as Markdown, each with its command; ``stall`` says in words how the service was that stood still.

    The picture of ``ladder``'s curve is expected beside the page, as ``load.png``.
    """
    comparison = referees.comparison
    curves = [contender.curve for contender in ladder.contenders if contender.curve]
    return "\n".join(
        [
            "# What the numbers of a load test are worth",
            "",
            f"Written by `{command}` from the records of what is named below. {NOTICE}",
            "",
            "## Do others agree?",
            "",
            f"`{comparison.command}`, {comparison.measured_at}: the same service through our load generator and "
            "through others, each client's own floor at the null service taken off. How it was measured, and what else "
            "was found: [referee](referee.md).",
            "",
            agreement_sentence(referees),
            "",
            *agreement_lines(referees),
            "",
            "## The curve to saturation",
            "",
            f"`{ladder.plan.command}`, {ladder.plan.created}. Response times in ms, from the scheduled instant.",
            "",
            "![Response time against answers per second, up to saturation](load.png)",
            "",
            *curve_lines(curves),
            "## A stall",
            "",
            stall,
            "",
            *markdown_table(_STALL, [_stall_row(run) for run in stalled]),
            "",
            "The user of the closed loop waits once and asks nothing meanwhile: the stall is one slow request among "
            "many. The schedule goes on, as people do, and all who came during the stall are counted with what they "
            "waited.",
            "",
            "## Machine",
            "",
            machine_line(ladder.plan.environment),
            "",
        ]
    )


def _stall_row(run: Run) -> list[str]:
    (cell,) = run.cells
    verdict, scenario = summarise(run).cells[0].verdict, cell.outcome.scenario if cell.outcome else None
    times = cell.requests.answers().response_time_ns
    return [
        _offered(scenario) if scenario else cell.cell.scenario,
        f"`{run.plan.command}`",
        f"{len(times):,}",
        *(_with_interval(figure) for figure in (median(times), percentile(times, 0.95))),
        f"{times.max() / NS_PER_MS:,.0f}",
        ": ".join([verdict.status, *verdict.reasons]),
    ]


def _offered(scenario: Scenario) -> str:
    rate = scenario.arrival_rate_per_s
    how = f"users: {scenario.users}" if rate is None else f"{rate:g}/s"
    return f"{scenario_name(scenario.kind)}, {how}"


def _with_interval(figure: Figure) -> str:
    return f"{value_of(figure, 'bare_ms')} ({interval_of(figure, 'bare_ms')})"
