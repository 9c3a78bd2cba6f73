"""A download survives cuts and silence, and never leaves a wrong file behind."""

from __future__ import annotations

import socket
from hashlib import md5
from random import Random
from threading import Event

import pytest

from contract.errors import DataCorrupt, DataUnavailable
from contract.progress import silent
from train.download import fetch, require_reachable

CONTENT = Random(0).randbytes(300_000)
MD5 = md5(CONTENT).hexdigest()


def test_a_file_is_downloaded_once(serve, tmp_path):
    server = serve(CONTENT)
    for _ in range(2):
        fetch(server.url, tmp_path / "new" / "cells.npz", MD5, silent)
    assert (tmp_path / "new" / "cells.npz").read_bytes() == CONTENT
    assert server.asked_for == [None]


def test_progress_ends_at_the_length_of_the_file(serve, tmp_path):
    calls = []
    fetch(serve(CONTENT).url, tmp_path / "cells.npz", MD5, lambda *call: calls.append(call))
    assert calls[-1] == ("downloading cells.npz", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)


def test_a_transfer_that_is_cut_is_taken_up_where_it_stopped(serve, tmp_path):
    server = serve(CONTENT, sends=[100_000, 50_000])
    fetch(server.url, tmp_path / "cells.npz", MD5, silent)
    assert (tmp_path / "cells.npz").read_bytes() == CONTENT
    assert server.asked_for == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_takes_up_what_an_earlier_one_left(serve, tmp_path):
    with pytest.raises(DataUnavailable, match="120000 bytes came and are kept"):
        fetch(serve(CONTENT, sends=[120_000, 0]).url, tmp_path / "cells.npz", MD5, silent)
    assert not (tmp_path / "cells.npz").exists()
    server = serve(CONTENT)
    fetch(server.url, tmp_path / "cells.npz", MD5, silent)
    assert server.asked_for == ["bytes=120000-"]
    assert (tmp_path / "cells.npz").read_bytes() == CONTENT


def test_a_host_that_knows_no_ranges_sends_everything_again(serve, tmp_path):
    server = serve(CONTENT, sends=[100_000], ranges=False)
    with pytest.raises(DataUnavailable, match="cut"):
        fetch(serve(CONTENT, sends=[100_000, 0], ranges=False).url, tmp_path / "cells.npz", MD5, silent)
    fetch(server.url, tmp_path / "cells.npz", MD5, silent)
    assert (tmp_path / "cells.npz").read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(serve, tmp_path):
    (tmp_path / "cells.npz.part").write_bytes(CONTENT)
    fetch(serve(CONTENT).url, tmp_path / "cells.npz", MD5, silent)
    assert (tmp_path / "cells.npz").read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_removed(serve, tmp_path):
    with pytest.raises(DataCorrupt, match=f"has the MD5 {MD5}, not 0000.*Next: "):
        fetch(serve(CONTENT).url, tmp_path / "cells.npz", "0" * 32, silent)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_that_lies_there_already_is_refused_and_kept(serve, tmp_path):
    (tmp_path / "cells.npz").write_bytes(b"mine")
    with pytest.raises(DataCorrupt, match="Next: delete it"):
        fetch(serve(CONTENT).url, tmp_path / "cells.npz", MD5, silent)
    assert (tmp_path / "cells.npz").read_bytes() == b"mine"


def test_a_file_that_the_host_does_not_have_is_asked_for_once(serve, tmp_path):
    server = serve(b"no such file", status=404)
    with pytest.raises(DataUnavailable, match=r"HTTP Error 404.*Next: "):
        fetch(server.url, tmp_path / "cells.npz", MD5, silent)
    assert server.asked_for == [None]


def test_a_host_that_falls_silent_is_given_up_on(serve, tmp_path):
    server = serve(CONTENT, sends=[200_000, 0], stalls=True)
    with pytest.raises(DataUnavailable, match=r"timed out.*200000 bytes came and are kept"):
        fetch(server.url, tmp_path / "cells.npz", MD5, silent, limit_s=0.3)
    assert (tmp_path / "cells.npz.part").read_bytes() == CONTENT[:200_000]
    assert server.asked_for == [None, "bytes=200000-"]


def test_a_host_that_accepts_and_never_answers_is_out_of_reach():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/cells.npz"
        with pytest.raises(DataUnavailable, match="out of reach"):
            require_reachable(url, limit_s=0.3)


def test_a_name_that_does_not_resolve_in_time_is_out_of_reach(monkeypatch):
    released = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30) and [])
    try:
        with pytest.raises(DataUnavailable, match=r"no answer within 0\.3 s"):
            require_reachable("http://example.invalid/cells.npz", limit_s=0.3)
    finally:
        released.set()


def test_a_closed_port_is_out_of_reach(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/cells.npz"
    with pytest.raises(DataUnavailable, match=r"127\.0\.0\.1:\d+ is out of reach .*refused"):
        require_reachable(url)
    with pytest.raises(DataUnavailable, match="refused"):
        fetch(url, tmp_path / "cells.npz", MD5, silent)


def test_a_host_that_answers_is_reachable(serve):
    assert require_reachable(serve(CONTENT).url) is None  # nothing is raised
