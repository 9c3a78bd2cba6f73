"""python judge_corpus.py FOLDER: the decoder's verdict on every file, as JSON, under a memory limit."""

from __future__ import annotations

import json
import resource
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from contract.errors import InvalidImage
from serving.http.images import decode_image

LIMIT_BYTES = 2 << 30


def verdict(data: bytes) -> tuple[int, str]:
    if not data:
        return 400, "missing_image"
    try:
        decode_image(data)
    except InvalidImage as refusal:
        return refusal.status, refusal.code
    return 200, "ok"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    print(json.dumps([(path.relative_to(folder).as_posix(), *verdict(path.read_bytes())) for path in files]))
