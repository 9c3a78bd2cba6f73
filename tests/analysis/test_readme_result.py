"""The README's result is written from records, and nothing in it is typed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from analysis.load.answer import answer
from analysis.load.runs import load_run
from analysis.load.summary import RunSummary, summarise
from analysis.wording import value_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import readme_result

    return readme_result


@pytest.fixture
def summary(build, tmp_path: Path) -> RunSummary:
    return summarise(load_run(build.write(tmp_path)))


def test_every_time_stands_in_the_table_and_the_fastest_is_bold(script, summary):
    section = script.result_section(summary)
    for contender in summary.of_scenario(summary.scenarios[0]):
        response, inference = contender.figures.response_p50_ns, contender.figures.infer_p50_ns
        assert f"{value_of(response, 'bare_ms')}" in section
        assert f"({value_of(inference, 'bare_ms')})" in section
    fastest = min(value_of(one.figures.response_p50_ns, "bare_ms") for one in summary.contenders if one.figures)
    assert f"**{fastest}**" in section


def test_the_answer_the_machine_the_day_and_the_command_are_named(script, summary):
    section = script.result_section(summary)
    assert all(sentence in section for sentence in answer(summary))
    assert summary.plan.environment.cpu_model in section
    assert summary.plan.created[:10] in section
    assert f"`{summary.plan.command}`" in section


def test_an_order_is_told_only_where_nobody_leads_at_both_ends(script, build, tmp_path: Path):
    def slow_at_64(cell, records, outcome):
        if (cell.runtime, cell.resolution_px) == ("onnx", 64):
            records = build.records(cell, slower=20)
        return records, outcome

    def section(name: str, **options) -> str:
        folder = build.write(tmp_path / name, runtimes=("pytorch", "jax", "onnx"), resolutions_px=(28, 64), **options)
        return script.result_section(summarise(load_run(folder)))

    assert "has found a winner, and no answer" not in section("one")
    assert "Fastest: ONNX Runtime at 28 px; " in section("two", edit=slow_at_64)


def test_the_pictures_differ_in_nothing_but_their_colours(script, summary):
    light, dark = script.pictures(summary).values()
    assert light != dark
    assert "currentColor" not in light + dark
    for text, ground in script.TEXT_COLOURS.values():
        dark = dark.replace(text, "text").replace(ground, "ground")
        light = light.replace(text, "text").replace(ground, "ground")
    assert light == dark


def test_the_section_takes_the_place_of_the_one_before_it_in_the_readme(script):
    readme = (ROOT / "README.md").read_text()
    changed = script.with_section(readme, "new")
    assert f"{script.BEGIN}\nnew\n{script.END}" in changed
    assert script.with_section(changed, "newer") == script.with_section(readme, "newer")
    assert changed.split(script.BEGIN)[0] == readme.split(script.BEGIN)[0]
