from __future__ import annotations

import errno
import inspect
import os
import re

import pytest

from contract import errors
from contract.errors import HemaBenchError, InvalidImage, why_not

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


def test_every_error_descends_from_one() -> None:
    assert all(issubclass(cls, HemaBenchError) for cls in CLASSES)


def test_the_tree_in_the_documentation_is_the_tree_in_the_code() -> None:
    drawn = re.findall(r"^[│├└─ ]*([A-Z]\w+)  ", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(cls.__name__ for cls in CLASSES)


def test_an_invalid_image_carries_what_the_client_is_told() -> None:
    error = InvalidImage("not an image", code="undecodable", status=400)
    assert (str(error), error.code, error.status) == ("not an image", "undecodable", 400)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left on device. Next: free some space there"),
        (errno.EROFS, "read-only file system. Next: name a folder that can be written"),
        (errno.EACCES, "permission denied. Next: change its owner or mode"),
        (errno.ENOTDIR, "not a directory. Next: name a folder"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_file_and_what_to_do(number: int, said: str) -> None:
    error = OSError(number, os.strerror(number), "results/run.json")
    assert why_not(error).startswith(f"results/run.json: {said}")


def test_what_nobody_can_advise_on_is_still_told() -> None:
    assert why_not(OSError("the cable is out")) == "the cable is out"
