from __future__ import annotations

import io

import pytest
from rich.console import Console

from analysis.terminal import TimeLeft, counts_table, network_table, parity_table, probabilities_table, progress_on
from contract.architecture import HEMANET
from contract.parity import Parity, Tolerance


def printed(renderable: object) -> str:
    """What a wide terminal without colours would show."""
    console = Console(file=io.StringIO(), width=200)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_network_is_listed_with_exact_sums():
    shown = printed(network_table(HEMANET))
    assert f"{HEMANET.parameter_count:,}" in shown
    assert f"{HEMANET.flops(224) / 1e6:,.1f}" in shown
    assert "28×28×16" in shown


def test_counts_are_summed_per_split():
    shown = printed(counts_table("cells", {"train": {"ig": 1500, "platelet": 7}, "test": {"ig": 3, "platelet": 4}}))
    last = next(line for line in shown.splitlines() if "sum" in line)
    assert list(last.replace("│", " ").split()) == ["sum", "1,507", "7"]


def test_parity_is_shown_with_its_images_and_batches():
    parity = Parity(largest_difference=2.5e-6, images=16, batches=(1, 5), tolerance=Tolerance())
    shown = printed(parity_table([("onnx", 28, parity)]))
    assert all(word in shown for word in ("onnx", "28", "2.5e-06", "16", "1, 5"))


def test_the_likeliest_class_comes_first():
    shown = printed(probabilities_table("ig", {"basophil": 0.25, "ig": 0.75}))
    assert shown.index("75.0%") < shown.index("25.0%")


class TestProgressWithoutATerminal:
    def lines_of(self, *calls: tuple[str, float, float]) -> list[str]:
        console = Console(file=io.StringIO(), width=20)
        with progress_on(console) as progress:
            for call in calls:
                progress(*call)
        return console.file.getvalue().splitlines()  # type: ignore[attr-defined]

    def test_every_end_is_told_and_long_lines_are_not_broken(self):
        assert self.lines_of(("export onnx at twenty-eight pixels", 2, 2)) == [
            "[100%] export onnx at twenty-eight pixels"
        ]

    def test_a_fast_step_does_not_flood_the_log(self):
        lines = self.lines_of(*(("train", step, 1000) for step in range(1000)))
        assert 1 <= len(lines) < 20

    def test_the_same_line_is_told_once(self):
        assert self.lines_of(("done", 1, 1), ("done", 1, 1)) == ["[100%] done"]

    def test_square_brackets_are_text(self):
        assert self.lines_of(("[red]alert[/red]", 1, 1)) == ["[100%] [red]alert[/red]"]


def test_a_terminal_gets_a_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with progress_on(console) as progress:
        progress("load test", 1, 4)
    assert "load test" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("total", [0, 0.0])
def test_nothing_to_do_is_done(total):
    console = Console(file=io.StringIO(), width=80)
    with progress_on(console) as progress:
        progress("nothing", 0, total)
    assert console.file.getvalue() == "[100%] nothing\n"  # type: ignore[attr-defined]


def heard(*calls: tuple[float, float, float]) -> list[str]:
    """What is said to be left at each call: the time in seconds, how much is done, of how much."""
    now = iter([0.0])
    clock = TimeLeft(lambda: next(now))
    said = []
    for at_s, done, total in calls:
        now = iter([at_s, at_s])
        said.append(clock.after(done, total))
    return said


def test_the_time_left_follows_from_the_time_taken():
    assert heard((0, 0, 4), (10, 1, 4), (20, 2, 4), (40, 4, 4)) == ["", "30 s left", "20 s left", ""]


def test_long_times_are_told_in_minutes_and_hours():
    assert heard((0, 0, 100), (6, 1, 100), (600, 2, 100)) == ["", "10 min left", "8.2 h left"]


def test_another_piece_of_work_starts_its_own_clock():
    assert heard((0, 0, 2), (100, 2, 2), (100, 0, 10), (101, 1, 10)) == ["", "", "", "9 s left"]


def test_a_total_that_grows_is_the_same_work():
    assert heard((0, 0, 4), (10, 1, 4), (20, 2, 5)) == ["", "30 s left", "30 s left"]


def test_work_that_goes_on_is_judged_by_what_was_done_since():
    assert heard((0, 5, 10), (10, 6, 10))[1] == "40 s left"
