from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.timing import NS_PER_MS, PARTS, TOTAL, format_server_timing, parse_server_timing

parts = st.dictionaries(st.sampled_from((*PARTS, TOTAL)), st.integers(0, 3_600 * 10**9))


@given(parts_ns=parts)
def test_every_nanosecond_survives_the_trip(parts_ns: dict[str, int]) -> None:
    assert parse_server_timing(format_server_timing(parts_ns)) == parts_ns


def test_the_header_is_what_browsers_read() -> None:
    assert format_server_timing({"read": 21_000, "total": 601_234}) == "read;dur=0.021000, total;dur=0.601234"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", {}),
        ("cache", {}),
        ("cache;desc=hit", {}),
        ("a;dur=1", {"a": NS_PER_MS}),
        ('a;dur="1.5"', {"a": 1_500_000}),
        (" a ; dur = 1 ,b;dur=2", {"a": NS_PER_MS, "b": 2 * NS_PER_MS}),
        ("a;dur=fast, b;dur=2", {"b": 2 * NS_PER_MS}),
        ("a;dur=nan, b;dur=inf, c;dur=2", {"c": 2 * NS_PER_MS}),
        ('a;desc="of, commas; dur=9";dur=2', {"a": 2 * NS_PER_MS}),
        ('a;desc="a \\" quote, b;dur=9";dur=2', {"a": 2 * NS_PER_MS}),
    ],
)
def test_headers_of_others_are_read_as_browsers_read_them(value: str, expected: dict[str, int]) -> None:
    assert parse_server_timing(value) == expected


@given(value=st.text())
def test_no_header_can_break_the_client(value: str) -> None:
    assert all(isinstance(duration, int) for duration in parse_server_timing(value).values())


@given(parts_ns=parts, description=st.text(st.characters(blacklist_characters='"\\', codec="latin-1")))
def test_a_description_that_a_proxy_adds_changes_no_duration(parts_ns: dict[str, int], description: str) -> None:
    value = f'proxy;desc="{description}", {format_server_timing(parts_ns)}'
    assert parse_server_timing(value) == parts_ns
