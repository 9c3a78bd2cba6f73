"""A body is one image, whole, in time and not too large, or it is refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.http.bodies import MAX_IMAGES, PATIENCE, images_in, read_body, read_head
from serving.http.refusal import ClientGone, Refusal

BOUNDARY = b"boundary-7"


def head(content_type=b"image/png", **headers):
    others = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return read_head([(b"content-type", content_type), *others])


def form_head():
    return head(b"multipart/form-data; boundary=" + BOUNDARY)


def part(content=b"pixels", name=b"image", filename=b"cell.png"):
    disposition = b'form-data; name="%b"' % name + (b'; filename="%b"' % filename if filename is not None else b"")
    return b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (BOUNDARY, disposition, content)


def form(*parts):
    return b"".join(parts) + b"--%b--\r\n" % BOUNDARY


def receiver(chunks, then="end"):
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if then == "end" and messages:
        messages[-1]["more_body"] = False
    queue = iter(messages)

    async def receive():
        message = next(queue, None)
        if message is not None:
            return message
        if then == "silence":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    return receive


def read(chunks, then="end", limit_bytes=1_000, deadline_s=5.0):
    return asyncio.run(read_body(receiver(chunks, then), limit_bytes, deadline_s))


def refusal_of(call):
    with pytest.raises(Refusal) as refused:
        call()
    return refused.value.status, refused.value.code


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=10))
def test_a_body_is_the_sum_of_its_chunks(chunks):
    assert read(chunks) == b"".join(chunks)


@pytest.mark.acceptance("A3")
@given(st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=12))
def test_a_body_above_the_limit_is_refused_whatever_its_chunks(chunks):
    size = sum(map(len, chunks))
    if size <= 1_000:
        assert len(read(chunks)) == size
    else:
        assert refusal_of(lambda: read(chunks)) == (413, "body_too_large")


@pytest.mark.acceptance("A3")
def test_an_endless_body_is_given_up_with_the_connection():
    with pytest.raises(Refusal) as refused:
        read([bytes(500)] * (2 * PATIENCE + 2), then="silence")
    assert (b"connection", b"close") in refused.value.headers


@pytest.mark.acceptance("O4")
def test_a_slow_body_gets_a_408():
    assert refusal_of(lambda: read([b"half"], then="silence", deadline_s=0.02)) == (408, "body_too_slow")


def test_a_client_that_leaves_is_nobody_to_answer():
    with pytest.raises(ClientGone):
        read([b"half"], then="disconnect")


@pytest.mark.parametrize(
    "content_type", [b"", b"image/jpg", b"IMAGE/PNG", b"image/x-foo; q=1", b"application/octet-stream"]
)
def test_images_and_unnamed_bytes_may_come_in(content_type):
    assert images_in(head(content_type), b"pixels") == [b"pixels"]


@pytest.mark.parametrize("around", [b"%b ", b"%b\t ", b" %b"])
def test_the_space_around_a_media_type_is_no_part_of_it(around):
    given = b"multipart/form-data; boundary=" + BOUNDARY
    assert head(around % given).content_type == given
    assert head(around % b"").content_type == b""


@pytest.mark.acceptance("A2")
@pytest.mark.parametrize("content_type", [b"application/x-www-form-urlencoded", b"text/uri-list", b"application/json"])
def test_other_kinds_may_not(content_type):
    assert refusal_of(lambda: head(content_type)) == (415, "unsupported_media_type")


@pytest.mark.acceptance("A3")
def test_compressed_bodies_are_refused():
    assert refusal_of(lambda: head(content_encoding=b"gzip")) == (415, "unsupported_encoding")
    assert head(content_encoding=b"identity")


@pytest.mark.acceptance("A3")
def test_endless_headers_are_refused():
    assert refusal_of(lambda: head(x_padding=b"a" * 70_000)) == (400, "headers_too_large")


@pytest.mark.acceptance("A4")
def test_two_framings_at_once_are_refused_and_the_connection_closed():
    with pytest.raises(Refusal) as refused:
        head(content_length=b"4", transfer_encoding=b"chunked")
    assert refused.value.status == 400
    assert (b"connection", b"close") in refused.value.headers


@pytest.mark.acceptance("I3")
@pytest.mark.parametrize("body", [form(), form(part(b"")), b""])
def test_a_form_without_an_image_misses_it(body):
    assert refusal_of(lambda: images_in(form_head(), body)) == (400, "missing_image")


@given(st.binary(min_size=1, max_size=300).filter(lambda content: BOUNDARY not in content))
def test_the_field_image_comes_out_of_a_form_as_it_went_in(content):
    assert images_in(form_head(), form(part(content))) == [content]
    assert images_in(form_head(), form(part(content, filename=None))) == [content]


@pytest.mark.acceptance("A3")
def test_a_form_has_images_and_nothing_else_and_not_too_many():
    most = form(*[part()] * MAX_IMAGES)
    assert images_in(form_head(), most) == [b"pixels"] * MAX_IMAGES
    assert refusal_of(lambda: images_in(form_head(), form(*[part()] * (MAX_IMAGES + 1)))) == (400, "too_many_images")
    assert refusal_of(lambda: images_in(form_head(), form(part(), part(name=b"x")))) == (400, "bad_form")


@given(st.lists(st.binary(max_size=40).filter(lambda content: BOUNDARY not in content), min_size=2, max_size=9))
def test_several_images_come_out_in_the_order_sent_empty_ones_included(contents):
    assert images_in(form_head(), form(*map(part, contents))) == contents


@pytest.mark.parametrize("body", [part(), b"junk", form(part())[:-6], b"--" + BOUNDARY])
def test_a_form_that_is_cut_or_none_is_refused(body):
    assert refusal_of(lambda: images_in(form_head(), body)) == (400, "bad_form")


def test_a_form_without_a_boundary_is_refused():
    assert refusal_of(lambda: images_in(head(b"multipart/form-data"), form(part()))) == (400, "bad_form")


@given(st.binary(max_size=300))
def test_whatever_a_form_holds_it_is_an_image_or_a_refusal(junk):
    body = b"--%b\r\n" % BOUNDARY + junk
    try:
        images = images_in(form_head(), body)
    except Refusal as refusal:
        status = refusal.status
    else:
        status = 200 if any(images) or len(images) > 1 else 0
    assert status in (200, 400)


def test_a_boundary_that_is_too_long_is_no_fault_of_ours():
    endless = b"b" * 300
    assert refusal_of(
        lambda: images_in(head(b"multipart/form-data; boundary=" + endless), form(part()).replace(BOUNDARY, endless))
    ) == (400, "bad_form")


@pytest.mark.acceptance("A3")
def test_a_body_that_says_it_is_too_large_is_so_however_slow_it_is():
    def slow(declared_bytes):
        return asyncio.run(read_body(receiver([b"half"], "silence"), 1_000, 0.02, declared_bytes))

    assert refusal_of(lambda: slow(1_001)) == (413, "body_too_large")
    assert refusal_of(lambda: slow(1_000)) == (408, "body_too_slow")
