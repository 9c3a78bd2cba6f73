"""One file over HTTP: resumed where it was cut, checked by its MD5, and given up on soon when nobody answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from hashlib import file_digest
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from contract.errors import DataCorrupt, DataUnavailable
from contract.progress import Progress

ANSWER_LIMIT_S = 10.0
BLOCK_BYTES = 1 << 20
RANGE_NOT_SATISFIABLE = 416


def require_reachable(url: str, *, limit_s: float = ANSWER_LIMIT_S) -> None:
    """Raise `DataUnavailable` unless ``url`` is answered within ``limit_s``."""
    try:
        with _opened(url, 0, limit_s):
            pass
    except (OSError, HTTPException) as error:
        raise DataUnavailable(f"{urlsplit(url).netloc} is out of reach ({_reason(error)})") from error


def fetch(url: str, target: Path, md5: str, progress: Progress, *, limit_s: float = ANSWER_LIMIT_S) -> None:
    """Make sure that ``target`` is the file of that MD5, downloading it if it is not there.

    A transfer that is cut, or silent for ``limit_s``, is taken up again for as long as
    each attempt brings new bytes. What has come so far is kept beside ``target`` for the
    next call. Raises `DataUnavailable` or `DataCorrupt`.
    """
    if target.is_file():
        _require_md5(target, md5, "delete it, it is then downloaded again")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    _download(url, part, progress, limit_s)
    try:
        _require_md5(part, md5, "run the same command again, it starts anew")
    except DataCorrupt:
        part.unlink()
        raise
    part.replace(target)


def _download(url: str, part: Path, progress: Progress, limit_s: float) -> None:
    complete = False
    while not complete:
        before_bytes = _length(part)
        try:
            complete = _take_up(url, part, progress, limit_s)
            problem: Exception = ConnectionError("the transfer was cut")
        except (OSError, HTTPException) as error:
            problem = error
        if not complete and _length(part) <= before_bytes:
            raise DataUnavailable(
                f"cannot download {url}: {_reason(problem)}. Next: run the same command again when the host is in "
                f"reach ({_length(part)} bytes came and are kept), or put the file at {part.with_suffix('')} yourself; "
                "--data synthetic renders images and needs no network"
            ) from problem


def _take_up(url: str, part: Path, progress: Progress, limit_s: float) -> bool:
    """Add to ``part`` what is missing; whether it is complete now."""
    with _opened(url, _length(part), limit_s) as response:
        if response is None:  # nothing lies behind what we have: a process was stopped before it checked the MD5
            return True
        resumed = response.status == 206
        total_bytes = int(response.headers.get("Content-Length", 0)) + (_length(part) if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read1(BLOCK_BYTES):
                file.write(block)
                progress(f"downloading {part.stem}", file.tell(), max(total_bytes, file.tell()))
    return _length(part) >= total_bytes


@contextmanager
def _opened(url: str, offset_bytes: int, limit_s: float) -> Iterator[HTTPResponse | None]:
    """The answer of the host from ``offset_bytes`` on; None where the file ends there.

    Asked for in a thread, because a name that does not resolve blocks for longer than
    any timeout that can be set on a socket.
    """
    headers = {"User-Agent": "hemabench"} | ({"Range": f"bytes={offset_bytes}-"} if offset_bytes else {})
    answer: Future[HTTPResponse] = Future()
    request = Request(url, headers=headers)
    Thread(target=_ask, args=(request, limit_s, answer), daemon=True).start()
    try:
        response = answer.result(timeout=limit_s)
    except TimeoutError:
        raise TimeoutError(f"no answer within {limit_s:g} s") from None
    except HTTPError as refusal:
        refusal.close()
        if refusal.code != RANGE_NOT_SATISFIABLE:
            raise
        yield None
        return
    with response:
        yield response


def _ask(request: Request, limit_s: float, answer: Future[HTTPResponse]) -> None:
    try:
        response = urlopen(request, timeout=limit_s)
    except (OSError, HTTPException, ValueError) as error:
        answer.set_exception(error)
    else:
        answer.set_result(response)


def _require_md5(path: Path, md5: str, next_step: str) -> None:
    with path.open("rb") as file:
        found = file_digest(file, "md5").hexdigest()
    if found != md5:
        raise DataCorrupt(f"{path} has the MD5 {found}, not {md5}. Next: {next_step}")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """``urlopen`` wraps what happened in a ``URLError``; a refusal by the host is one too, and says more itself."""
    return str(error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error)
