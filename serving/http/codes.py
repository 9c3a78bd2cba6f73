"""Every reason for which a request is not answered: the stable word, its status, and what it means.

A client may branch on the word; the message beside it is for people and may change.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One reason."""

    status: int
    meaning: str


CODES = {
    "bad_form": Code(400, "The multipart form cannot be parsed, is cut off, or has fields other than `image`."),
    "bad_framing": Code(400, "`Content-Length` and `Transfer-Encoding` contradict each other."),
    "bad_request": Code(
        400, "The bytes are no request of HTTP/1.1, frame its body in two ways at once, or do not name one host."
    ),
    "bad_request_body": Code(400, "The body is no inference request of the Open Inference Protocol."),
    "bad_tensor": Code(400, "A tensor's name, datatype, shape or size is not the model's."),
    "headers_too_large": Code(400, "The headers, or the trailers of a chunked body, exceed 64 kB."),
    "missing_image": Code(400, "No image was sent, or one of no bytes."),
    "too_many_images": Code(400, "The form has more than 64 parts."),
    "not_found": Code(404, "There is nothing at this path."),
    "unknown_resolution": Code(404, "No model of this resolution is loaded; the message names those that are."),
    "method_not_allowed": Code(405, "The path takes another method; `Allow` names it."),
    "body_too_slow": Code(408, "The body did not arrive within the deadline."),
    "headers_too_slow": Code(408, "The headers did not arrive within 8 s."),
    "batch_too_large": Code(413, "The tensor holds more than 32 images."),
    "body_too_large": Code(413, "The body is larger than the limit."),
    "url_too_long": Code(414, "The URL is longer than 8 kB."),
    "unsupported_encoding": Code(415, "The body is compressed as a whole."),
    "unsupported_image": Code(415, "The bytes are no PNG, JPEG, WebP, TIFF or BMP, whatever they are called."),
    "unsupported_media_type": Code(415, "The body is declared as something that is no image, bytes or form."),
    "bad_dimensions": Code(422, "A side has fewer than 8 or more than 8,192 pixels, or is 8 times the other."),
    "corrupt_image": Code(
        422,
        "The image is truncated, damaged, of a rare kind that is not read, or of far more parts than an image needs.",
    ),
    "multi_frame": Code(422, "The file holds several frames or pages."),
    "too_many_pixels": Code(
        422,
        "The image has more than 25 million pixels, or far fewer where they are slow to unfold (a BMP in run lengths).",
    ),
    "value_out_of_range": Code(
        422, "A value of the tensor is not finite, or far from [-1, 1]: pixels that were not scaled, say."
    ),
    "unsupported_mode": Code(
        422, "The pixels are of a kind that has no agreed meaning as a colour, or that is not read."
    ),
    "internal": Code(500, "Something went wrong in the service; its log has it under the request id."),
    "model_output_invalid": Code(500, "The model answered with a number that is not finite."),
    "overloaded": Code(503, "As many requests as may are waiting for the model; `Retry-After` says when to ask again."),
    "starting": Code(503, "The models are being loaded; `Retry-After` says when to ask again."),
    "stopping": Code(503, "The service is being stopped; what has begun is answered."),
    "deadline": Code(504, "The model was not free in time; the request was dropped unexecuted."),
}
