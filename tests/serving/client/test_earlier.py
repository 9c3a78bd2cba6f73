"""Rows of an earlier run against the files as they are now."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from contract.errors import DataUnavailable, RunInvalid
from serving.client.earlier import EarlierRows, may_pass
from serving.client.predictions import Row


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def answered(content):
    return Row(sha256(content), True, False, "")


def refused(code, content=b""):
    return Row(sha256(content) if content else "", False, False, code)


@pytest.fixture
def outdated(tmp_path):
    """``outdated(rows)`` of a folder with the files a (of the bytes "a") and large (of 99 bytes, which is too many)."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "large").write_bytes(bytes(99))

    def compare(rows):
        earlier = EarlierRows(rows=rows, output=Path("p.csv"), folder=tmp_path, largest_file_bytes=98)
        return asyncio.run(earlier.outdated([tmp_path / "a", tmp_path / "large"]))

    return compare


def test_an_answer_to_the_same_bytes_stands(outdated):
    assert outdated({"a": answered(b"a")}) == set()


def test_an_answer_to_other_bytes_is_refused_and_not_dropped(outdated):
    with pytest.raises(RunInvalid, match=r"p\.csv has an answer to other bytes than those of .*/a\. Next: choose"):
        outdated({"a": answered(b"b")})
    with pytest.raises(RunInvalid, match="other bytes"):
        outdated({"large": answered(b"b")})


def test_an_answer_to_a_file_that_is_not_there_is_refused(outdated):
    with pytest.raises(RunInvalid, match="has an answer to b, which is not below"):
        outdated({"a": answered(b"a"), "b": answered(b"b")})


def test_a_refusal_stands_while_its_bytes_are_the_same(outdated):
    assert outdated({"a": refused("corrupt_image", b"a"), "large": refused("body_too_large")}) == set()


def test_a_refusal_of_other_bytes_or_of_a_file_that_is_gone_is_dropped(outdated):
    rows = {"a": refused("corrupt_image", b"b"), "large": refused("missing_image", b"c"), "b": refused("multi_frame")}
    assert outdated(rows) == set(rows)


@pytest.mark.parametrize("code", ["unreadable", "internal", "overloaded", "deadline", "status_502", "headers_too_slow"])
def test_what_may_pass_is_always_asked_again(code, outdated):
    assert may_pass(code)
    assert outdated({"a": refused(code, b"a")}) == {"a"}


def test_an_answered_file_that_cannot_be_read_is_named_and_a_refused_one_asked_again(outdated, monkeypatch):
    def broken(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", broken)
    assert outdated({"a": refused("corrupt_image", b"a")}) == {"a"}
    with pytest.raises(DataUnavailable, match=r"cannot read .*/a, .*Permission denied\. Next: make it readable"):
        outdated({"a": answered(b"a")})
