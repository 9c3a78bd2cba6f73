from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.campaign.meter import Meter

steps = st.lists(st.tuples(st.floats(0.1, 10), st.lists(st.floats(0, 50), max_size=4)), max_size=5)


@given(st.lists(steps, min_size=1, max_size=5))
def test_progress_never_falls_and_never_passes_the_end(sections: list[list[tuple[float, list[float]]]]) -> None:
    heard: list[tuple[float, float]] = []
    section_s = 10.0
    meter = Meter(lambda what, done, total: heard.append((done, total)), section_s * len(sections))
    for section in sections:
        meter.section(section_s)
        for expected_s, elapsed in section:
            meter.begin("step", expected_s)
            for elapsed_s in sorted(elapsed):
                meter.tick(elapsed_s)
    done = [value for value, _ in heard]
    assert done == sorted(done)
    assert all(0 <= value <= total for value, total in heard)


def test_a_section_that_ended_early_counts_as_done() -> None:
    heard: list[tuple[str, float, float]] = []
    meter = Meter(lambda *said: heard.append(said), 20.0)
    meter.section(10.0)
    meter.begin("first", 3.0)
    meter.section(10.0)
    meter.begin("second", 3.0)
    assert heard == [("first", 0.0, 20.0), ("second", 10.0, 20.0)]


def test_what_a_step_has_brought_is_said_beside_it() -> None:
    heard: list[str] = []
    meter = Meter(lambda what, done, total: heard.append(what), 20.0)
    meter.section(10.0)
    meter.begin("closed loop", 10.0)
    meter.tick(1.0, "12 answers")
    meter.tick(2.0)
    assert heard[-2:] == ["closed loop: 12 answers", "closed loop"]
