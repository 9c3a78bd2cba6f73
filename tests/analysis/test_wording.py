from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import Absent, Estimate, across_runs
from analysis.wording import (
    FEW_PROMISE,
    PROMISED,
    interval_of,
    listed,
    runtime_name,
    sample_of,
    scenario_name,
    value_of,
    whole,
)

MS = 1_000_000


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [
        (0.0421, "0.042 ms"),
        (0.2314, "0.231 ms"),
        (0.9996, "1.00 ms"),
        (9.996, "10.0 ms"),
        (99.96, "100 ms"),
        (1234.5, "1,234 ms"),
    ],
)
def test_a_time_has_three_significant_digits_and_no_less_than_microseconds(value_ms: float, text: str) -> None:
    assert value_of(Estimate(value_ms * MS, 0, 0, 9), "ms") == text


def test_an_interval_is_written_in_the_digits_of_its_value() -> None:
    assert interval_of(Estimate(1.234 * MS, 1.2 * MS, 12.5 * MS, 9), "ms") == "1.20 to 12.50"


def test_nothing_is_printed_without_n_and_interval() -> None:
    assert whole(Estimate(0.984, 0.979, 0.988, 3421, "images"), "percent") == "98.4 % (97.9 to 98.8, n = 3,421 images)"


def test_an_absent_figure_says_why() -> None:
    absent = Absent("too few requests", 3)
    assert value_of(absent, "ms") == "–"
    assert interval_of(absent, "ms") == ""
    assert sample_of(absent) == whole(absent, "ms") == "too few requests"


@given(value=st.floats(1e-6, 1e6), form=st.sampled_from(["plain", "ms", "bare_ms", "times", "per_s", "percent"]))
def test_every_form_writes_every_size_plainly(value: float, form: str) -> None:
    text = value_of(Estimate(value, value / 2, value * 2, 5), form)
    assert "e" not in text.lower()
    float(text.split()[0].replace(",", ""))


def test_lists_are_read_aloud_well() -> None:
    assert [listed(words) for words in ([28], [28, 64], [28, 64, 128])] == ["28", "28 and 64", "28, 64 and 128"]


def test_unlisted_names_keep_their_word() -> None:
    assert (runtime_name("pytorch"), runtime_name("openvino")) == ("PyTorch", "openvino")
    assert (scenario_name("open_loop"), scenario_name("rate_ladder")) == ("Open loop", "Rate ladder")


@pytest.mark.parametrize(("runs", "promised"), PROMISED.items())
def test_an_interval_over_few_runs_holds_as_often_as_is_said(runs, promised):
    rng = np.random.default_rng(runs)
    intervals = [across_runs(rng.normal(size=runs), rng, draws=500) for _ in range(1_000)]
    held = np.mean([one.low <= 0 <= one.high for one in intervals])
    assert held == pytest.approx(promised, abs=0.05)
    if promised < 0.9:
        assert f"{promised:.0%}".replace("%", " %") in FEW_PROMISE
