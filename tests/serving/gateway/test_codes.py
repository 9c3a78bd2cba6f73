from __future__ import annotations

import re
from pathlib import Path

from serving.gateway.codes import GATEWAY_CODES
from serving.http.codes import CODES

DOCUMENT = Path(__file__).parents[3] / "docs" / "gateway.md"


def test_the_document_lists_every_code_as_it_is():
    lines = [f"| {code.status} | `{name}` | {code.meaning} |" for name, code in GATEWAY_CODES.items()]
    listed = re.search(r"<!-- codes -->\n(.*?)\n<!-- /codes -->", DOCUMENT.read_text(), re.DOTALL)
    assert listed is not None
    assert listed.group(1).splitlines()[2:] == lines


def test_a_word_means_one_thing_at_the_gateway_and_at_a_service():
    assert not set(GATEWAY_CODES) & set(CODES)
