from __future__ import annotations

from dataclasses import replace

from analysis.load.answers import accuracy, agreement_with, without_class
from analysis.load.runs import requests_of
from analysis.statistics import Absent, Estimate


def test_an_image_counts_once_however_often_it_was_sent(build) -> None:
    records = build.records(build.cell(), requests=900, warmup=0)
    share = accuracy(requests_of(records))
    images = {record.image for record in records}
    wrong = {record.image for record in records if record.answered != record.expected}
    assert isinstance(share, Estimate)
    assert (share.n, share.of) == (len(images), "images")
    assert share.value == 1 - len(wrong) / len(images)


def test_an_image_with_one_wrong_answer_among_right_ones_is_wrong(build) -> None:
    first, *_ = build.records(build.cell(), requests=1, warmup=0)
    right = replace(first, answered=first.expected)
    wrong = replace(first, answered=(first.expected + 1) % 8)
    share = accuracy(requests_of([right, wrong, right]))
    assert isinstance(share, Estimate)
    assert (share.value, share.n) == (0.0, 1)


def test_without_answers_there_is_no_accuracy(build) -> None:
    records = [build.failed(record) for record in build.records(build.cell(), requests=5)]
    assert isinstance(accuracy(requests_of(records)), Absent)


def test_answers_equal_to_the_predictions_agree(build) -> None:
    agreement = agreement_with(build.predictions("pytorch", 28), requests_of(build.records(build.cell())))
    assert agreement.differing == ()
    assert agreement.agreeing == agreement.images > 100


def test_differing_and_unknown_images_are_told_apart(build) -> None:
    records = build.records(build.cell(), requests=100, warmup=0)
    records[3] = replace(records[3], answered=(records[3].answered + 1) % 8)
    known = tuple(sorted({record.image for record in records} - {records[5].image}))
    predictions = build.predictions("pytorch", 28)
    predictions = replace(predictions, images=known, classes=tuple(predictions.classes[image] for image in known))
    agreement = agreement_with(predictions, requests_of(records))
    assert agreement.differing == (records[3].image,)
    assert agreement.unknown == 1
    assert agreement.agreeing == agreement.images - 2


def test_warm_up_answers_are_not_compared(build) -> None:
    records = build.records(build.cell(), requests=50, warmup=5)
    records[0] = replace(records[0], answered=(records[0].answered + 1) % 8)
    assert agreement_with(build.predictions("pytorch", 28), requests_of(records)).differing == ()


def test_a_positive_answer_without_a_class_is_counted(build) -> None:
    records = build.records(build.cell(), requests=10)
    records[-1] = replace(records[-1], answered=None)
    assert without_class(requests_of(records)) == 1
