"""The typed client: what it sends, retries and raises; the waiting and the asynchronous one alike."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from contract.errors import DataUnavailable, InvalidSettings, RequestRefused, ServiceFailed
from serving.answers import ImageAnswer, ImageError, encode_json
from serving.client.client import AsyncHemaBenchClient, ClientSettings, HemaBenchClient
from serving.http.door import Door

CLIENTS = ("waiting", "asynchronous")


class Asked:
    """A service's answers in the order they will be given, and what was asked of it and waited for."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.requests = []
        self.pauses_s = []

    def handle(self, request):
        self.requests.append(request)
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    def ask(self, kind, call, settings=None):
        """``call(client)`` by the client of that kind."""
        settings = settings or ClientSettings()
        transport = httpx.MockTransport(self.handle)
        if kind == "waiting":
            with HemaBenchClient("http://s", settings, sleep=self.pauses_s.append, transport=transport) as client:
                return call(client)

        async def pause(duration_s):
            self.pauses_s.append(duration_s)

        async def scenario():
            async with AsyncHemaBenchClient("http://s", settings, sleep=pause, transport=transport) as client:
                return await call(client)

        return asyncio.run(scenario())


def refusal(status, code="overloaded", **headers):
    error = {"code": code, "message": "no", "request_id": "r1"}
    return httpx.Response(status, json={"error": error}, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture
def answer(one_answer):
    return httpx.Response(200, content=encode_json(one_answer))


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_full_service_is_asked_again_when_it_said_to(kind, answer):
    asked = Asked(refusal(503, retry_after="2"), refusal(429, retry_after="0"), answer)
    assert asked.ask(kind, lambda client: client.classify(b"x")).label == "platelet"
    assert asked.pauses_s == [2.0, 0.0]


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_last_refusal_is_raised_with_its_reason(kind):
    asked = Asked(*[refusal(503, retry_after="1")] * 3)
    with pytest.raises(RequestRefused) as raised:
        asked.ask(kind, lambda client: client.classify(b"x"), ClientSettings(retries=2))
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (503, "overloaded", "r1")
    assert len(asked.requests) == 3


@pytest.mark.parametrize(
    "response",
    [
        refusal(503),
        refusal(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
        refusal(503, retry_after="-1"),
        refusal(503, retry_after="3600"),
        refusal(504, "deadline", retry_after="1"),
        refusal(500, "internal", retry_after="1"),
        refusal(422, "corrupt_image"),
    ],
)
def test_nothing_else_is_asked_again(response):
    asked = Asked(response)
    with pytest.raises(RequestRefused):
        asked.ask("waiting", lambda client: client.classify(b"x"))
    assert asked.pauses_s == []


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("?")]
)
def test_where_no_answer_comes_the_service_failed_and_nothing_is_repeated(kind, error):
    asked = Asked(error)
    with pytest.raises(ServiceFailed, match="hemabench serve"):
        asked.ask(kind, lambda client: client.classify(b"x"))
    assert len(asked.requests) == 1


@pytest.mark.parametrize("response", [httpx.Response(200, text="hi"), httpx.Response(200, json={"label": 3})])
def test_another_service_is_not_mistaken_for_this_one(response):
    with pytest.raises(ServiceFailed, match="no HemaBench service"):
        Asked(response).ask("waiting", lambda client: client.classify(b"x"))


def test_an_error_page_of_a_proxy_is_a_refusal_without_a_reason():
    with pytest.raises(RequestRefused, match="502 and no reason"):
        Asked(httpx.Response(502, text="<html>")).ask("waiting", lambda client: client.classify(b"x"))


def test_every_request_has_its_timeouts_and_resolution(answer):
    asked = Asked(answer)
    asked.ask("waiting", lambda client: client.classify(b"x", 64), ClientSettings(timeout_s=7, connect_timeout_s=2))
    request = asked.requests[0]
    assert request.extensions["timeout"] == {"connect": 2, "read": 7, "write": 7, "pool": 7}
    assert str(request.url) == "http://s/v1/classify?resolution=64"


@pytest.mark.parametrize("url", ["", "localhost:3000", "ftp://s", "http://", "http://host:x"])
def test_what_is_no_url_is_refused_at_once(url):
    with pytest.raises(InvalidSettings):
        HemaBenchClient(url)


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://h:3000/v1/classify", "http://h:3000"),
        ("https://h/a/v2/models?x=1", "https://h/a"),
        ("http://h:3000/v1", "http://h:3000"),
        ("http://h:3000/?resolution=28", "http://h:3000"),
        ("http://h:3000/#page", "http://h:3000"),
    ],
)
def test_an_address_of_more_than_a_service_is_refused_with_the_services_own(url, service):
    with pytest.raises(InvalidSettings) as raised:
        HemaBenchClient(url)
    assert str(raised.value).endswith(f"Next: give only {service}")


@pytest.mark.parametrize("url", ["http://v1/", "http://h/v10", "https://h/a/"])
def test_a_service_may_lie_below_a_path(url):
    asked = []

    def ready(request):
        asked.append(str(request.url))
        return httpx.Response(200)

    with HemaBenchClient(url, transport=httpx.MockTransport(ready)) as client:
        assert client.is_ready()
    assert asked == [f"{url.rstrip('/')}/readyz"]


def test_a_service_without_tls_is_said_to_have_none():
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"127.0.0.1:{server.server_port}"
    try:
        with HemaBenchClient(f"https://{place}") as client, pytest.raises(ServiceFailed) as raised:
            client.is_ready()
    finally:
        server.shutdown()
        server.server_close()
    assert str(raised.value).endswith(f"Next: try http://{place}")
    assert "no service answers" not in str(raised.value)


def test_a_certificate_that_does_not_hold_is_no_reason_to_leave_tls():
    asked = Asked(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
    with pytest.raises(ServiceFailed) as raised:
        asked.ask("waiting", lambda client: client.is_ready())
    assert "try http" not in str(raised.value)


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"retries": -1}, {"connections": 0}, {"longest_pause_s": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidSettings):
        ClientSettings(**wrong)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataUnavailable, match=r"nothing\.png"):
        Asked().ask("waiting", lambda client: client.classify(tmp_path / "nothing.png"))


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 130])
def test_many_images_come_back_in_order_however_they_are_grouped(count, open_endpoints, cell_png):
    images = [cell_png if index % 3 else b"junk %d" % index for index in range(count)]
    app = Door(open_endpoints().routes())

    async def scenario():
        async with AsyncHemaBenchClient("http://s", transport=httpx.ASGITransport(app=app)) as client:
            return await client.classify_many(images)

    results = asyncio.run(scenario())
    expected = [ImageAnswer if index % 3 else ImageError for index in range(count)]
    assert [type(result) for result in results] == expected


def test_large_images_are_sent_in_groups_that_the_service_takes(open_endpoints, cell_png):
    app = Door(open_endpoints().routes())
    images = [cell_png + bytes(4_000_000)] * 5  # what follows a PNG's end is not looked at

    async def scenario():
        async with AsyncHemaBenchClient("http://s", transport=httpx.ASGITransport(app=app)) as client:
            return await client.classify_many(images)

    assert all(isinstance(result, ImageAnswer) for result in asyncio.run(scenario()))


def test_a_lone_image_that_is_refused_is_a_result_but_an_unknown_resolution_is_not(open_endpoints, cell_png):
    asked = Asked(refusal(422, "corrupt_image"), refusal(404, "unknown_resolution"))
    (result,) = asked.ask("waiting", lambda client: client.classify_many([b"x"]))
    assert result.error.code == "corrupt_image"
    with pytest.raises(RequestRefused):
        asked.ask("waiting", lambda client: client.classify_many([b"x"], 32))


def test_the_client_speaks_with_every_runtime(service, runtime_settings, cell_png, tmp_path):
    path = tmp_path / "cell.png"
    path.write_bytes(cell_png)
    with HemaBenchClient(f"{service.url}/") as client:
        assert client.is_ready()
        one = client.classify(path, 64)
        many = client.classify_many([path, cell_png, b"junk"], 64)
        models = client.models()
    assert one.model.runtime == runtime_settings.runtime == models.runtime["name"]
    assert [result.probabilities for result in many[:2]] == [one.probabilities] * 2
    assert many[2].error.code == "unsupported_image"
    assert [model.resolution for model in models.models] == [28, 64]


@pytest.mark.acceptance("F7")
def test_a_connection_that_is_cut_or_talks_nonsense_is_a_typed_failure():
    class Garbage(BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(
                b"garbage\r\n\r\n" if self.path == "/readyz" else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
            )

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Garbage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with HemaBenchClient(f"http://127.0.0.1:{server.server_port}") as client:
            for call in (client.is_ready, client.models):
                with pytest.raises(ServiceFailed):
                    call()
    finally:
        server.shutdown()
        server.server_close()
