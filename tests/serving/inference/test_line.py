"""Who waits, who runs, who is sent away."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.refusal import Refusal
from serving.inference.line import Line


def line(limit=8, deadline_s=10.0):
    return Line(limit, deadline_s)


async def visit(line, log, name, work=None):
    with line.place():
        async with line.turn():
            log.append(name)
            if work is not None:
                await work.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def test_turns_come_in_the_order_of_arrival():
    async def scenario():
        subject, log = line(), []
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
def test_into_a_full_line_exactly_the_surplus_is_refused():
    async def scenario():
        subject, log = line(limit=4), []
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
        subject, log, work = line(deadline_s=0.01), [], asyncio.Event()
        first = asyncio.create_task(visit(subject, log, "first", work))
        second = asyncio.create_task(visit(subject, log, "second"))
        await asyncio.sleep(0.05)
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
@pytest.mark.parametrize("given_up", [0, 1, 2, 3])
def test_one_who_gives_up_leaves_the_line_moving(given_up):
    async def scenario():
        subject, log, work = line(), [], asyncio.Event()
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


def test_an_error_during_a_turn_passes_the_turn_on():
    async def scenario():
        subject, log = line(), []

        async def fail():
            with subject.place():
                async with subject.turn():
                    raise RuntimeError

        results = await asyncio.gather(fail(), visit(subject, log, "next"), return_exceptions=True)
        assert isinstance(results[0], RuntimeError)
        assert log == ["next"]

    asyncio.run(scenario())
