"""The page's files, read once, each at its own path; nothing else on the disk can be asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from serving.http.door import Request, Response, Routes

PAGE = Path(__file__).parents[1] / "page"
INDEX = "index.html"
MEDIA_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
}
# Scripts, styles and requests go to this very address only, nothing inline runs, and no other site may frame the page.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)


def page_routes() -> Routes:
    """A path per file of the page, and ``/`` for its index."""
    files = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*") if path.suffix in MEDIA_TYPES}
    responses = {name: _response(path) for name, path in files.items()}
    routes: Routes = {f"/{name}": {"GET": partial(_give, response)} for name, response in responses.items()}
    return {"/": routes[f"/{INDEX}"], **routes}


def page_files() -> tuple[tuple[str, str], ...]:
    """Each path of the page and its media type."""
    names = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.suffix in MEDIA_TYPES)
    typed = [(f"/{name}", MEDIA_TYPES[Path(name).suffix].decode()) for name in names]
    return (("/", MEDIA_TYPES[".html"].decode()), *typed)


async def _give(response: Response, request: Request) -> Response:
    return response


def _response(path: Path) -> Response:
    return Response(path.read_bytes(), content_type=MEDIA_TYPES[path.suffix], headers=_HEADERS)
