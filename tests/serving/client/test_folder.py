"""A folder classified into a CSV: every file once, bounded, resumable."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from contract.errors import DataUnavailable, InvalidSettings, RequestRefused, RunInvalid, ServiceFailed
from serving.answers import encode_json
from serving.client.folder import FolderSettings, classify_folder, files_below
from serving.http.door import Door

ROOT = Path(__file__).parents[3]


def transport_to(endpoints):
    return httpx.ASGITransport(app=Door(endpoints.routes()))


@pytest.fixture
def folder(tmp_path, cell_png):
    """Two good images, one of them below, and three files that are none."""
    root = tmp_path / "cells"
    (root / "below" / "deeper").mkdir(parents=True)
    (root / "a.png").write_bytes(cell_png)
    (root / "below" / "deeper" / "b, c.png").write_bytes(cell_png)
    (root / "below" / "notes.txt").write_text("no image")
    (root / "empty.png").write_bytes(b"")
    (root / "z.png").write_bytes(cell_png[:-9])
    return root


def settings_of(folder, **changes):
    return FolderSettings(**{"folder": folder, "url": "http://s", "output": folder / "predictions.csv", **changes})


def rows(path):
    with path.open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_every_file_gets_one_row_errors_included(folder, open_endpoints):
    heard = []
    outcome = classify_folder(
        settings_of(folder), lambda *step: heard.append(step), transport=transport_to(open_endpoints())
    )
    found = rows(folder / "predictions.csv")
    codes = {name: row["error_code"] for name, row in found.items()}
    assert codes == {
        "a.png": "",
        "below/deeper/b, c.png": "",
        "below/notes.txt": "unsupported_image",
        "empty.png": "missing_image",
        "z.png": "corrupt_image",
    }
    assert found["a.png"]["label"] == "platelet"
    assert found["z.png"]["sha256"] == hashlib.sha256((folder / "z.png").read_bytes()).hexdigest()
    assert (outcome.answered, outcome.refused, outcome.skipped, outcome.files) == (2, 3, 0, 5)
    assert outcome.refusals == {"unsupported_image": 1, "missing_image": 1, "corrupt_image": 1}
    assert outcome.any_answered
    assert [step[1] for step in heard] == [1, 2, 3, 4, 5]
    assert heard[-1][2] == 5


def test_files_that_have_a_row_are_skipped_and_new_ones_added(folder, open_endpoints, cell_png):
    endpoints = open_endpoints()
    classify_folder(settings_of(folder), transport=transport_to(endpoints))
    before = (folder / "predictions.csv").read_bytes()
    (folder / "new.png").write_bytes(cell_png)
    outcome = classify_folder(settings_of(folder), transport=transport_to(endpoints))
    assert (outcome.answered, outcome.refused, outcome.skipped) == (1, 0, 5)
    after = (folder / "predictions.csv").read_bytes()
    assert after.startswith(before)
    assert after[len(before) :].startswith(b"new.png,")


def other_bytes(png):
    """The same image; what follows a PNG's end is not looked at."""
    return png + b"other bytes"


def classified(folder, output, endpoints):
    return classify_folder(settings_of(folder, output=output), transport=transport_to(endpoints))


@pytest.mark.parametrize("name", ["cell.png", "other.png"])
def test_two_folders_do_not_share_an_output(name, tmp_path, open_endpoints, cell_png):
    endpoints, output = open_endpoints(), tmp_path / "predictions.csv"
    for day, file, content in (("monday", "cell.png", cell_png), ("tuesday", name, other_bytes(cell_png))):
        (tmp_path / day).mkdir()
        (tmp_path / day / file).write_bytes(content)
    classified(tmp_path / "monday", output, endpoints)
    before = output.read_bytes()
    with pytest.raises(RunInvalid, match="choose another --out"):
        classified(tmp_path / "tuesday", output, endpoints)
    assert output.read_bytes() == before


def test_nothing_is_asked_where_one_answer_is_of_another_folder(folder, open_endpoints, cell_png):
    endpoints, output = open_endpoints(), folder / "predictions.csv"
    classified(folder, output, endpoints)
    before = output.read_bytes()
    (folder / "0.png").write_bytes(cell_png)  # new, and before the one that differs
    (folder / "below" / "deeper" / "b, c.png").write_bytes(other_bytes(cell_png))
    with pytest.raises(RunInvalid, match="b, c"):
        classified(folder, output, endpoints)
    assert output.read_bytes() == before


def test_a_refused_file_that_was_replaced_is_asked_again_and_keeps_one_row(folder, open_endpoints, cell_png):
    endpoints, output = open_endpoints(), folder / "predictions.csv"
    classified(folder, output, endpoints)
    (folder / "z.png").write_bytes(cell_png)
    (folder / "empty.png").unlink()
    outcome = classified(folder, output, endpoints)
    assert (outcome.answered, outcome.refused, outcome.skipped) == (1, 0, 3)
    with output.open(newline="") as file:
        names = sorted(row["file"] for row in csv.DictReader(file))
    assert names == ["a.png", "below/deeper/b, c.png", "below/notes.txt", "z.png"]
    assert rows(output)["z.png"]["label"] == "platelet"


def test_a_file_that_could_not_be_read_is_asked_again(folder, open_endpoints, monkeypatch):
    endpoints, output = open_endpoints(), folder / "predictions.csv"
    real = Path.open

    def broken(path, *words, **options):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied")
        return real(path, *words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", broken)
        classified(folder, output, endpoints)
    assert rows(output)["a.png"]["error_code"] == "unreadable"
    outcome = classified(folder, output, endpoints)
    assert (outcome.answered, outcome.skipped) == (1, 4)
    assert rows(output)["a.png"]["label"] == "platelet"


def test_what_a_proxy_says_is_a_row_with_its_status_and_asked_again(folder, loaded_models, one_answer):
    broken = [True]

    def answer(request):
        if request.method == "GET":
            return httpx.Response(200, content=encode_json(loaded_models))
        return httpx.Response(502, text="<html>") if broken[0] else httpx.Response(200, content=encode_json(one_answer))

    transport = httpx.MockTransport(answer)
    outcome = classify_folder(settings_of(folder), transport=transport)
    assert (outcome.refusals, outcome.any_answered) == ({"status_502": 5}, False)
    broken[0] = False
    assert classify_folder(settings_of(folder), transport=transport).answered == 5


def test_images_out_of_distribution_are_counted_with_those_of_an_earlier_run(folder, loaded_models, one_answer):
    unlike = replace(one_answer, in_distribution=False, distance=9.0, distance_threshold=1.0)
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=encode_json(loaded_models if request.method == "GET" else unlike))
    )
    for _ in range(2):
        assert classify_folder(settings_of(folder), transport=transport).out_of_distribution == 5


def test_a_run_of_which_only_refusals_are_there_already_answered_none(folder, open_endpoints):
    endpoints, output = open_endpoints(), folder / "predictions.csv"
    for good in ("a.png", "below/deeper/b, c.png"):
        (folder / good).unlink()
    for skipped in (0, 3):
        outcome = classified(folder, output, endpoints)
        assert (outcome.skipped, outcome.any_answered, sum(outcome.refusals.values())) == (skipped, False, 3)


@pytest.mark.parametrize("there", [[], ["predictions.csv"]])
def test_a_folder_without_files_is_refused_before_anything_is_asked_or_written(there, tmp_path):
    (tmp_path / "below").mkdir()
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(DataUnavailable, match="PNG, JPEG, WebP, TIFF and BMP are looked for"):
        classify_folder(settings_of(tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == there


def test_a_service_that_dies_stops_the_run_and_the_same_call_completes_it(folder, open_endpoints):
    app, asked = Door(open_endpoints().routes()), []

    async def mortal(scope, receive, send):
        asked.append(scope["path"])
        if len(asked) > 3:
            raise httpx.ReadError("gone")
        await app(scope, receive, send)

    with pytest.raises(ServiceFailed):
        classify_folder(settings_of(folder, concurrency=1), transport=httpx.ASGITransport(app=mortal))
    assert len(rows(folder / "predictions.csv")) == 2
    outcome = classify_folder(settings_of(folder), transport=httpx.ASGITransport(app=app))
    assert (outcome.skipped, outcome.files) == (2, 5)


def test_a_service_that_stays_full_is_no_row(folder, open_endpoints):
    async def full(scope, receive, send):
        app = Door(open_endpoints(line_limit=1).routes())
        if scope["path"] == "/v1/classify":
            await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    with pytest.raises(RequestRefused, match="503"):
        classify_folder(settings_of(folder, retries=2), transport=httpx.ASGITransport(app=full))
    assert rows(folder / "predictions.csv") == {}


def test_more_files_on_their_way_than_places_in_the_line_all_get_answers(folder, open_endpoints, cell_png, monkeypatch):
    for number in range(40):
        (folder / f"{number}.png").write_bytes(cell_png)
    monkeypatch.setattr("serving.http.refusal.RETRY_SOON", (b"retry-after", b"0"))
    monkeypatch.setattr("serving.inference.line.RETRY_SOON", (b"retry-after", b"0"))
    settings = settings_of(folder, concurrency=16, retries=1_000)
    outcome = classify_folder(settings, transport=transport_to(open_endpoints(line_limit=2)))
    assert (outcome.answered, outcome.refused) == (42, 3)


def test_a_large_or_unreadable_file_is_a_row_and_not_read(folder, open_endpoints):
    (folder / "large.bin").write_bytes(bytes(3_000))
    (folder / "gone.png").symlink_to(folder / "nothing")
    (folder / "link.png").symlink_to(folder / "a.png")
    settings = settings_of(folder, largest_file_bytes=2_999)
    classify_folder(settings, transport=transport_to(open_endpoints()))
    found = rows(folder / "predictions.csv")
    assert found["large.bin"]["error_code"] == "body_too_large"
    assert found["link.png"]["label"]
    assert "gone.png" not in found


def test_an_unknown_resolution_is_refused_before_anything_is_written(folder, open_endpoints):
    with pytest.raises(RequestRefused, match="28, 64"):
        classify_folder(settings_of(folder, resolution_px=224), transport=transport_to(open_endpoints()))
    assert not (folder / "predictions.csv").exists()


def test_settings_out_of_range_are_refused(folder):
    with pytest.raises(InvalidSettings):
        settings_of(folder, concurrency=0)
    with pytest.raises(DataUnavailable):
        settings_of(folder / "a.png")


def test_files_are_listed_by_name_and_without_the_output(folder):
    output = folder / "predictions.csv"
    output.write_text("")
    names = [path.relative_to(folder).as_posix() for path in files_below(folder, output)]
    assert names == ["a.png", "empty.png", "z.png", "below/notes.txt", "below/deeper/b, c.png"]


def test_memory_does_not_grow_with_the_number_of_files(tmp_path, cell_png, loaded_models, one_answer):
    """Three thousand files of 40 kB are 120 MB; what is held at any time is a few of them."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(3_000):
        os.link(folder / "0.png", folder / f"{number}.png") if number else (folder / "0.png").write_bytes(
            cell_png + bytes(40_000)
        )
    transport = httpx.MockTransport(
        lambda request: httpx.Response(
            200, content=encode_json(loaded_models if request.method == "GET" else one_answer)
        )
    )
    tracemalloc.start()
    try:
        outcome = classify_folder(settings_of(folder), transport=transport)
        again = classify_folder(settings_of(folder), transport=transport)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.answered == again.skipped == 3_000
    assert peak_bytes < 24_000_000  # whatever the collector has not got round to included


CLASSIFY = """
import sys
from pathlib import Path
from serving.client.folder import FolderSettings, classify_folder
settings = FolderSettings(folder=Path(sys.argv[1]), url=sys.argv[2], output=Path(sys.argv[3]), concurrency=2)
try:
    classify_folder(settings, lambda *step: print(*step, flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("interruption", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_is_interrupted_leaves_whole_rows_and_is_completed_by_the_next(
    interruption, status, tmp_path, cell_png, serving_null
):
    folder = tmp_path / "cells"
    folder.mkdir()
    for number in range(1_500):
        (folder / f"{number:04}.png").write_bytes(cell_png)
    output = tmp_path / "predictions.csv"
    command = [sys.executable, "-c", CLASSIFY, str(folder), serving_null.url, str(output)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        time.sleep(0.2)
        child.send_signal(interruption)
        child.stdout.read()
    assert child.returncode == status
    written = output.read_bytes()
    assert written.endswith(b"\n")
    assert 0 < len(rows(output)) < 1_500
    outcome = classify_folder(settings_of(folder, url=serving_null.url, output=output))
    assert outcome.skipped == len(written.splitlines()) - 1
    assert len(rows(output)) == outcome.files == 1_500
    assert output.read_bytes().startswith(written)
