"""The table of mistakes, and the code that it names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from contract.errors import InvalidSettings
from contract.records.mistakes import ALL_CORES, CAREFUL, FRAMEWORKS, ONE_THREAD, SETUPS
from loadtest.mistakes import table
from loadtest.mistakes.table import MISTAKES, SAME_CODE, answering_ways, chosen_mistakes, ways_of

ROOM = Path(table.__file__).parent


def ways_written_for(framework: str) -> set[str]:
    """The public methods of the framework's class, read without importing the framework."""
    (found,) = (
        node for node in ast.parse((ROOM / f"{framework}.py").read_text()).body if isinstance(node, ast.ClassDef)
    )
    return {node.name for node in found.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_way_that_is_to_be_timed_is_written_and_every_way_that_is_written_is_timed(framework):
    timed = {SAME_CODE.get(way, way) for setup in SETUPS.values() for way in ways_of(MISTAKES, framework, setup)}
    assert timed == ways_written_for(framework) - {"wait", "describe"}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_says_what_why_and_who_was_misled(mistake):
    assert all((mistake.title, mistake.done, mistake.why, mistake.evidence))
    assert all(link.startswith("https://") for link in mistake.evidence)
    assert mistake.setup in SETUPS


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_changes_something_and_one_thing_alone(mistake):
    other_way = any(mistake.way(name) != mistake.reference(name) for name in FRAMEWORKS)
    other_statistic = mistake.statistic != mistake.reference_statistic
    assert other_way != other_statistic


def test_who_does_not_antialias_is_named_by_the_function_that_is_timed_for_pytorch_has_two():
    (resize,) = (mistake for mistake in MISTAKES if mistake.name == "framework_resize")
    without, _, with_ = resize.why.partition(";")
    assert {"torch.nn.functional.interpolate", "tf.image.resize"} <= set(without.split())
    assert "torchvision's Resize" in with_


def test_names_and_titles_are_unique():
    assert len({mistake.name for mistake in MISTAKES}) == len({mistake.title for mistake in MISTAKES}) == len(MISTAKES)


def test_the_careful_way_is_timed_first_so_that_its_first_call_is_the_first_of_the_process():
    assert all(ways_of(MISTAKES, framework, ONE_THREAD)[0] == CAREFUL for framework in FRAMEWORKS)


def test_a_process_with_all_cores_is_started_for_those_who_ignore_the_limit_alone():
    assert ways_of(MISTAKES, "pytorch", ALL_CORES) == ()
    assert ways_of(MISTAKES, "jax", ALL_CORES) == (CAREFUL,)


def test_answers_are_asked_of_both_sides_of_a_mistake():
    assert {"native_resize", "pil_resize"} <= set(answering_ways(MISTAKES, "jax"))


def test_an_unknown_mistake_is_refused_with_those_there_are():
    with pytest.raises(InvalidSettings, match="predict_in_a_loop"):
        chosen_mistakes(("sloppiness",))


def test_chosen_mistakes_come_in_the_order_of_the_table():
    names = ("predict_in_a_loop", "no_synchronisation")
    assert [mistake.name for mistake in chosen_mistakes(names)] == ["no_synchronisation", "predict_in_a_loop"]
