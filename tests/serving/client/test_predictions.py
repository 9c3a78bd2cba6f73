"""The CSV of predictions: whole rows, whatever happened to the one before."""

from __future__ import annotations

import csv
import os
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contract.blood_cells import LABELS
from contract.errors import RecordsCorrupt, RunInvalid
from serving.answers import ModelName
from serving.client.predictions import PredictionsFile, Refused

DIGEST = "ab" * 32


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
        predictions.write("a.png", answer())
        predictions.write("b.png", Refused("corrupt_image", 'it is "broken", sadly', "r2"))
    first, second = rows(path)
    assert (first["label"], first["class_index"], first["p_ig"], first["error_code"]) == (
        "erythroblast",
        "2",
        "0.125",
        "",
    )
    assert (first["model"], first["resolution"], first["digest"], first["request_id"]) == ("m", "28", DIGEST, "r")
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
            predictions.write(name, answer())
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with PredictionsFile(path, model()) as predictions:
        assert predictions.done == set(names[: len(predictions.done)])
        for name in names:
            if name not in predictions.done:
                predictions.write(name, answer())
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"label,score\n", b"\xff\xd8\xff\xe0 a photo", b"file,label", b"\n"])
def test_a_file_that_is_something_else_is_left_as_it_is(tmp_path, content, model):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    if content == b"file,label":  # a torn header is ours
        PredictionsFile(path, model()).close()
        return
    with pytest.raises(RecordsCorrupt):
        PredictionsFile(path, model())
    assert path.read_bytes() == content


def test_damage_before_the_last_row_is_not_taken_for_a_torn_one(tmp_path, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        for name in ("a", "b", "c"):
            predictions.write(name, answer())
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
        predictions.write("a", answer())
        with pytest.raises(RunInvalid, match="cdcd"):
            predictions.write("b", answer("cd" * 32))
    with pytest.raises(RunInvalid):
        PredictionsFile(path, model("cd" * 32))
    with pytest.raises(RecordsCorrupt):
        PredictionsFile(path, model(labels=("x", "y")))


def test_a_row_that_the_disk_takes_only_half_of_is_cut_off_again(tmp_path, monkeypatch, model, answer):
    path = tmp_path / "p.csv"
    with PredictionsFile(path, model()) as predictions:
        predictions.write("a", answer())
        whole = path.read_bytes()
        real = os.write
        monkeypatch.setattr(os, "write", lambda file, content: real(file, content[:5]))
        with pytest.raises(OSError, match="5 of"):
            predictions.write("b", answer())
    assert path.read_bytes() == whole
