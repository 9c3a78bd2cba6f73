"""The CSV of predictions: whole rows, whatever happened to the one before."""

from __future__ import annotations

import csv
import os
import signal
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contract.blood_cells import LABELS
from contract.errors import RecordsCorrupt, RunInvalid
from serving.answers import ModelName, encode_json
from serving.client.predictions import PredictionsFile, Refused, Row

DIGEST = "ab" * 32
SHA256 = "12" * 32
ROOT = Path(__file__).parents[3]


@pytest.fixture
def model(loaded_models):
    return lambda digest=DIGEST, labels=LABELS: replace(loaded_models.models[0], digest=digest, labels=labels)


@pytest.fixture
def answer(one_answer):
    return lambda digest=DIGEST: replace(
        one_answer,
        label=LABELS[2],
        class_index=2,
        probabilities=dict.fromkeys(LABELS, 0.125),
        model=ModelName("m", "null", 28, digest),
        request_id="r",
    )


def rows(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_a_row_says_what_was_answered_or_why_nothing_was(tmp_path, model, answer):
    path = tmp_path / "new" / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        predictions.write("a.png", SHA256, answer())
        predictions.write("b.png", SHA256, Refused("corrupt_image", 'it is "broken", sadly', "r2"))
    first, second = rows(path)
    assert (first["label"], first["class_index"], first["p_ig"], first["error_code"]) == (
        "erythroblast",
        "2",
        "0.125",
        "",
    )
    assert (first["model"], first["resolution"], first["digest"], first["request_id"]) == ("m", "28", DIGEST, "r")
    assert first["sha256"] == second["sha256"] == SHA256
    assert second["label"] == second["p_ig"] == second["digest"] == ""
    assert (second["error_code"], second["error_message"]) == ("corrupt_image", 'it is "broken", sadly')


file_names = st.text(
    min_size=1, max_size=12, alphabet=st.characters(codec="utf-8", exclude_characters="\0/")
) | st.text(alphabet=[*string.ascii_letters, "\udc80", "\n", "\r", '"', ","], min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(names=st.lists(file_names, min_size=1, max_size=4, unique=True), data=st.data())
def test_wherever_the_file_is_torn_only_the_torn_row_is_written_again(tmp_path, names, data, model, answer):
    path = tmp_path / "p.csv"
    path.unlink(missing_ok=True)
    with PredictionsFile(path, model()) as predictions:
        for name in names:
            predictions.write(name, SHA256, answer())
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with PredictionsFile(path, model()) as predictions:
        assert list(predictions.rows) == names[: len(predictions.rows)]
        for name in names:
            if name not in predictions.rows:
                predictions.write(name, SHA256, answer())
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"label,score\n", b"\xff\xd8\xff\xe0 a photo", b"file,sha", b"\n"])
def test_a_file_that_is_something_else_is_left_as_it_is(tmp_path, content, model):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    if content == b"file,sha":  # a torn header is ours
        PredictionsFile(path, model()).close()
        return
    with pytest.raises(RecordsCorrupt):
        PredictionsFile(path, model())
    assert path.read_bytes() == content


def test_damage_before_the_last_row_is_not_taken_for_a_torn_one(tmp_path, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        for name in ("a", "b", "c"):
            predictions.write(name, SHA256, answer())
    lines = path.read_bytes().split(b"\n")
    for damaged in (b'"a"x' + lines[1], lines[1][:20]):
        content = b"\n".join([lines[0], damaged, *lines[2:]])
        path.write_bytes(content)
        with pytest.raises(RecordsCorrupt):
            PredictionsFile(path, model())
        assert path.read_bytes() == content


def test_what_two_models_say_is_not_mixed(tmp_path, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        predictions.write("a", SHA256, answer())
        with pytest.raises(RunInvalid, match="cdcd"):
            predictions.write("b", SHA256, answer("cd" * 32))
    with pytest.raises(RunInvalid):
        PredictionsFile(path, model("cd" * 32))
    with pytest.raises(RecordsCorrupt):
        PredictionsFile(path, model(labels=("x", "y")))


def test_a_row_that_the_disk_takes_only_half_of_is_cut_off_again(tmp_path, monkeypatch, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        predictions.write("a", SHA256, answer())
        whole = path.read_bytes()
        real = os.write
        monkeypatch.setattr(os, "write", lambda file, content: real(file, content[:5]))
        with pytest.raises(OSError, match="5 of"):
            predictions.write("b", SHA256, answer())
    assert path.read_bytes() == whole


def test_rows_of_an_earlier_run_say_of_which_bytes_they_are_and_what_was_said(tmp_path, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        predictions.write("a", SHA256, replace(answer(), in_distribution=False, distance=9.0))
        predictions.write("b", "", Refused("unreadable", "no"))
    with PredictionsFile(path, model()) as predictions:
        assert predictions.rows == {"a": Row(SHA256, True, True, ""), "b": Row("", False, False, "unreadable")}


@pytest.mark.parametrize(
    "first", ["file,label,class_index,p_ig", "file,label,class_index,in_distribution,distance,p_ig"]
)
def test_predictions_that_do_not_say_of_which_bytes_they_are_are_refused_and_left(tmp_path, first, model):
    path = tmp_path / "p.csv"
    content = f"{first}\r\n".encode()
    path.write_bytes(content)
    with pytest.raises(RunInvalid, match=r"earlier version.*sha256.*Next: choose another --out"):
        PredictionsFile(path, model())
    assert path.read_bytes() == content


def test_one_run_writes_at_a_time(tmp_path, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        predictions.write("a", SHA256, Refused("corrupt_image", "no"))
    with PredictionsFile(path, model()) as predictions:
        for _ in range(2):
            with pytest.raises(RunInvalid, match=r"another run writes .*p\.csv\. Next: wait for its end"):
                PredictionsFile(path, model())
            predictions.drop({"a"} & predictions.rows.keys())  # puts another file in its place
        predictions.write("a", SHA256, answer())
    PredictionsFile(path, model()).close()
    assert [row["label"] for row in rows(path)] == ["erythroblast"]


def test_a_file_that_is_refused_is_not_held(tmp_path, model):
    path = tmp_path / "p.csv"
    path.write_bytes(b"label,score\n")
    for _ in range(2):
        with pytest.raises(RecordsCorrupt):
            PredictionsFile(path, model())


def test_rows_are_dropped_and_the_others_and_the_mode_kept(tmp_path, model, answer):
    path, link = tmp_path / "p.csv", tmp_path / "link.csv"
    path.touch(0o600)
    link.symlink_to(path)
    with PredictionsFile(link, model()) as predictions:
        for name in ("a", 'b "\n,', "c"):
            predictions.write(name, SHA256, answer())
    whole = path.read_bytes()
    with PredictionsFile(link, model()) as predictions:
        predictions.drop({"a"})
        assert list(predictions.rows) == ['b "\n,', "c"]
        predictions.write("a", SHA256, answer())
    first, *others = whole.splitlines(keepends=True)[1:]
    assert path.read_bytes() == b"".join([whole.splitlines(keepends=True)[0], *others, first])
    assert (link.is_symlink(), path.stat().st_mode & 0o777) == (True, 0o600)
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_where_rows_cannot_be_dropped_all_of_them_stay(tmp_path, monkeypatch, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        predictions.write("a", SHA256, answer())
        whole = path.read_bytes()
        monkeypatch.setattr(os, "fchmod", lambda *_: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            predictions.drop({"a"})
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


HOLD = """
import sys, time, msgspec
from pathlib import Path
from serving.answers import ModelFacts
from serving.client.predictions import PredictionsFile
PredictionsFile(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=ModelFacts))
print("held", flush=True)
time.sleep(60)
"""


def test_a_run_that_was_killed_holds_nothing(tmp_path, model):
    path = tmp_path / "p.csv"
    command = [sys.executable, "-c", HOLD, str(path), encode_json(model()).decode()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        with pytest.raises(RunInvalid):
            PredictionsFile(path, model())
        child.send_signal(signal.SIGKILL)
    PredictionsFile(path, model()).close()
