"""Every answer says whether its image is such a one as the model knows."""

from __future__ import annotations

import asyncio
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from contract.blood_cells import LABELS
from contract.calibration import Distribution, statistics_of
from contract.preprocessing import scale_pixels
from serving.answers import Answer, ModelName, decode_json
from serving.http.door import Door
from serving.http.endpoints import Endpoints
from serving.inference.cards import model_card
from serving.inference.classifier import Classifier, ServedModel
from serving.inference.devices import CPU
from serving.runtimes.null import NullModel, NullRuntime
from serving.settings import ServiceSettings
from train.sources.synthetic import render_cells

THRESHOLD = 1e-3


def known_image():
    return render_cells(1, 28, seed=5)[0]


def served(threshold=THRESHOLD):
    """A model that knows one image and nothing else."""
    mean = statistics_of(scale_pixels(known_image()))[0]
    distribution = Distribution(mean, np.eye(len(mean), dtype=np.float32))
    return ServedModel(
        name=ModelName("test", "null", 28, "0" * 64),
        model=NullModel(),
        labels=LABELS,
        temperature=1.0,
        distribution=distribution if threshold else None,
        distance_threshold=threshold,
    )


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


KNOWN, UNKNOWN = png(known_image()[0]), png(255 - known_image()[0])


@pytest.fixture
def endpoints():
    opened = Endpoints(ServiceSettings(runtime="null"))
    opened.open(Classifier(NullRuntime(CPU, 1), {28: served()}, {}))
    return opened


def ask(endpoints, method, path, **content):
    async def asked():
        transport = httpx.ASGITransport(app=Door(endpoints.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **content)

    return asyncio.run(asked())


@pytest.mark.parametrize(("image", "known"), [(KNOWN, True), (UNKNOWN, False)])
def test_an_answer_says_it_with_the_distance_and_the_threshold(endpoints, image, known):
    answer = decode_json(ask(endpoints, "POST", "/v1/classify", content=image).content, type=Answer)
    assert answer.in_distribution is known
    assert answer.distance_threshold == THRESHOLD
    assert (answer.distance <= THRESHOLD) is known


def test_each_of_several_images_is_told_apart_and_counted(endpoints):
    files = [("image", ("image", content, "image/png")) for content in (KNOWN, UNKNOWN, UNKNOWN)]
    results = ask(endpoints, "POST", "/v1/classify", files=files).json()["results"]
    assert [result["in_distribution"] for result in results] == [True, False, False]
    assert 'hemabench_out_of_distribution_total{resolution="28"} 2.0' in ask(endpoints, "GET", "/metrics").text


def test_a_model_without_a_threshold_says_that_it_does_not_know():
    assert served(threshold=None).distance_of(scale_pixels(known_image())) is None
    opened = Endpoints(ServiceSettings(runtime="null"))
    opened.open(Classifier(NullRuntime(CPU, 1), {28: served(threshold=None)}, {}))
    answer = json.loads(ask(opened, "POST", "/v1/classify", content=KNOWN).content)
    assert (answer["in_distribution"], answer["distance"], answer["distance_threshold"]) == (None, None, None)


def test_the_card_says_what_the_threshold_is_and_where_it_ends():
    assert "`in_distribution: false`" in model_card(served())
    assert "not a cell of a class that was never seen" in model_card(served())
    assert "Nothing recognises" in model_card(served(threshold=None))
