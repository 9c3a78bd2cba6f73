"""Who waits, who runs, who is sent away."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.refusal import Refusal
from serving.inference.line import Line


def line(limit=8, deadline_s=10.0, largest_group=1):
    return Line(limit, deadline_s, largest_group)


groups = pytest.mark.parametrize("largest_group", [1, 3])


async def visit(line, log, name, work=None):
    with line.place():
        async with line.turn():
            log.append(name)
            if work is not None:
                await work.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@groups
def test_turns_come_in_the_order_of_arrival(largest_group):
    async def scenario():
        subject, log = line(largest_group=largest_group), []
        await asyncio.gather(*(visit(subject, log, name) for name in range(6)))
        assert log == list(range(6))
        assert subject.length == 0

    asyncio.run(scenario())


def test_only_one_runs_at_a_time():
    async def scenario():
        subject, log, work = line(), [], asyncio.Event()
        visits = [asyncio.create_task(visit(subject, log, name, work)) for name in range(3)]
        await settle()
        assert log == [0]
        assert subject.length == 3
        work.set()
        await asyncio.gather(*visits)

    asyncio.run(scenario())


@pytest.mark.acceptance("O1")
@groups
def test_into_a_full_line_exactly_the_surplus_is_refused(largest_group):
    async def scenario():
        subject, log = line(limit=4, largest_group=largest_group), []
        results = await asyncio.gather(*(visit(subject, log, name) for name in range(10)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, Refusal)]
        assert log == [0, 1, 2, 3]
        assert len(refused) == 6
        assert {refusal.status for refusal in refused} == {503}
        assert all((b"retry-after", b"1") in refusal.headers for refusal in refused)

    asyncio.run(scenario())


@pytest.mark.acceptance("O2")
def test_past_its_deadline_a_request_is_dropped_unexecuted():
    async def scenario():
        subject, log, work = line(deadline_s=0.3), [], asyncio.Event()
        first = asyncio.create_task(visit(subject, log, "first", work))
        second = asyncio.create_task(visit(subject, log, "second"))
        await asyncio.sleep(0.5)
        third = asyncio.create_task(visit(subject, log, "third"))
        await settle()
        work.set()
        await asyncio.gather(first, third)
        with pytest.raises(Refusal) as refused:
            await second
        assert (refused.value.status, refused.value.code) == (504, "deadline")
        assert log == ["first", "third"]
        assert subject.length == 0

    asyncio.run(scenario())


@pytest.mark.acceptance("O8")
@groups
@pytest.mark.parametrize("given_up", [0, 1, 2, 3])
def test_one_who_gives_up_leaves_the_line_moving(given_up, largest_group):
    async def scenario():
        subject, log, work = line(largest_group=largest_group), [], asyncio.Event()
        visits = [asyncio.create_task(visit(subject, log, name, work)) for name in range(4)]
        await settle()
        visits[given_up].cancel()
        await settle()
        work.set()
        await asyncio.gather(*visits, return_exceptions=True)
        assert sorted({*log, given_up}) == [0, 1, 2, 3]
        assert subject.length == 0
        await visit(subject, log, "later")
        assert log[-1] == "later"

    asyncio.run(scenario())


@groups
def test_an_error_during_a_turn_passes_the_turn_on(largest_group):
    async def scenario():
        subject, log = line(largest_group=largest_group), []

        async def fail():
            with subject.place():
                async with subject.turn():
                    raise RuntimeError

        results = await asyncio.gather(fail(), visit(subject, log, "next"), return_exceptions=True)
        assert isinstance(results[0], RuntimeError)
        assert log == ["next"]

    asyncio.run(scenario())


async def passes_of(subject, visitors):
    """In which pass of the event loop each of so many visitors, who come at once, had its turn."""
    loop, passed, turns = asyncio.get_running_loop(), 0, {}

    def count():
        nonlocal passed
        passed += 1
        if len(turns) < visitors:
            loop.call_soon(count)

    async def come(name):
        with subject.place():
            async with subject.turn():
                turns[name] = passed

    count()
    await asyncio.gather(*map(come, range(visitors)))
    assert list(turns) == sorted(turns)
    return list(turns.values())


def test_short_turns_are_had_in_groups_and_no_group_is_larger_than_it_may(monkeypatch):
    monkeypatch.setattr("serving.inference.line.BREATH_S", 1e6)  # every turn is short
    passes = asyncio.run(passes_of(line(limit=20, largest_group=4), 13))
    groups = [passes.count(number) for number in dict.fromkeys(passes)]
    assert groups == [1, 4, 4, 4]  # of the first nothing is known


def test_after_a_long_turn_the_loop_looks_for_news(monkeypatch):
    monkeypatch.setattr("serving.inference.line.BREATH_S", 1e-9)  # every turn is long
    passes = asyncio.run(passes_of(line(limit=20, largest_group=4), 13))
    assert len(set(passes)) == 13


def test_a_group_that_gave_up_leaves_the_line_to_the_next(monkeypatch):
    monkeypatch.setattr("serving.inference.line.BREATH_S", 1e6)

    async def scenario():
        subject, log, work = line(largest_group=3), [], asyncio.Event()
        visits = [asyncio.create_task(visit(subject, log, name, work if name == 0 else None)) for name in range(5)]
        await settle()
        work.set()
        await asyncio.sleep(0)  # the first has ended, and the next three have turns that they do not know of yet
        for given_up in visits[1:4]:
            given_up.cancel()
        await asyncio.gather(*visits, return_exceptions=True)
        assert log == [0, 4]
        assert subject.length == 0

    asyncio.run(scenario())
