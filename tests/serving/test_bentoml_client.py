"""BentoML's own clients, as they come, against a running service of every runtime."""

from __future__ import annotations

import asyncio

import pytest
from PIL import Image

from contract.blood_cells import LABELS

# BentoML 1.4.39 uses names of pathspec and pydantic that have newer ones.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def client(service):
    import bentoml

    with bentoml.SyncHTTPClient(service.url) as connected:
        yield connected
    tidy(connected)


def tidy(client):
    """A client leaves its folder to the garbage collector, which warns of it in the middle of another test."""
    client._temp_dir.cleanup()


@pytest.fixture
def cell_file(cell_png, tmp_path):
    path = tmp_path / "cell.png"
    path.write_bytes(cell_png)
    return path


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "cell.txt"
    path.write_text("no image")
    return path


def test_it_finds_a_method_and_one_for_each_resolution(client, runtime_settings):
    named = [f"classify_{side}px" for side in runtime_settings.resolutions_px]
    assert list(client.endpoints) == ["classify", *named]


def test_a_path_and_an_opened_image_are_classified_alike(client, cell_file):
    with Image.open(cell_file) as opened:
        by_path, by_pillow = (client.classify(image=image) for image in (cell_file, opened))
    assert by_path["label"] == by_pillow["label"] in LABELS
    assert by_path["probabilities"] == by_pillow["probabilities"]


def test_the_method_of_a_resolution_is_answered_by_its_model(client, cell_file, runtime_settings):
    for side in runtime_settings.resolutions_px:
        assert client.call(f"classify_{side}px", image=cell_file)["model"]["resolution"] == side


def test_a_list_gets_a_result_or_an_error_for_each(client, cell_file, text_file):
    results = client.classify(image=[cell_file, text_file, cell_file])["results"]
    assert [result["outcome"] for result in results] == ["answer", "error", "answer"]


def test_a_refusal_reaches_the_caller_with_its_status_and_code(client, text_file):
    from bentoml.exceptions import BentoMLException

    with pytest.raises(BentoMLException, match="unsupported_image") as refused:
        client.classify(image=text_file)
    assert refused.value.error_code == 415


def test_the_asynchronous_one_works_as_well(service, cell_file):
    import bentoml

    async def classified():
        async with bentoml.AsyncHTTPClient(service.url) as client:
            answer = await client.classify(image=cell_file)
        tidy(client)
        return answer

    assert asyncio.run(classified())["label"] in LABELS
