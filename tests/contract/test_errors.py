from __future__ import annotations

import inspect
import re

from contract import errors
from contract.errors import HemaBenchError, InvalidImage

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


def test_every_error_descends_from_one() -> None:
    assert all(issubclass(cls, HemaBenchError) for cls in CLASSES)


def test_the_tree_in_the_documentation_is_the_tree_in_the_code() -> None:
    drawn = re.findall(r"^[│├└─ ]*([A-Z]\w+)  ", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(cls.__name__ for cls in CLASSES)


def test_an_invalid_image_carries_what_the_client_is_told() -> None:
    error = InvalidImage("not an image", code="undecodable", status=400)
    assert (str(error), error.code, error.status) == ("not an image", "undecodable", 400)
