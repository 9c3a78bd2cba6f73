from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from contract.blood_cells import LABELS, NOTICE
from serving.gateway.pages import MEDIA_TYPES, PAGE, page_routes

ROOT = Path(__file__).parents[3]
FILES = sorted(path for path in PAGE.rglob("*") if path.is_file())
SOURCES = [path for path in FILES if path.suffix in {".html", ".css", ".js", ".svg"}]
MARKUP = (PAGE / "index.html").read_text()


def name_of(path: Path) -> str:
    return path.relative_to(PAGE).as_posix()


def test_every_file_has_a_path_and_nothing_else_has():
    assert set(page_routes()) == {"/", *(f"/{name_of(path)}" for path in FILES)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_comes_whole_with_its_type_and_under_a_strict_policy(gateway, path):
    response = httpx.get(f"{gateway.url}/{name_of(path)}")
    assert response.content == path.read_bytes()
    assert response.headers["content-type"].encode() == MEDIA_TYPES[path.suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = dict(rule.strip().split(" ", 1) for rule in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_other_host_is_named(path):
    hosts = set(re.findall(r"(?:https?:)?//([\w.-]+\.\w+)", path.read_text())) - {
        "www.w3.org"
    }  # SVG's name, no address
    assert hosts == set()


def test_nothing_stands_inline():
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", MARKUP) == []
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", MARKUP))


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".js"], ids=name_of)
def test_what_a_server_or_a_file_says_never_becomes_markup(path):
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text())
        == []
    )


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".js"], ids=name_of)
def test_what_a_module_imports_is_there(path):
    for name in re.findall(r'from "\./([\w.]+)"', path.read_text()):
        assert (PAGE / name).is_file(), f"{path.name} imports {name}"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".js"], ids=name_of)
def test_a_module_parses(path):
    shown = subprocess.run(
        ["node", "--input-type=module", "--check"], input=path.read_text(), capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr


def test_the_notice_does_not_wait_for_a_script():
    assert NOTICE in MARKUP


def test_there_is_an_example_of_every_class_as_its_script_draws_it(tmp_path):
    assert re.findall(r'data-example="(\w+)"', MARKUP) == list(LABELS)
    draw = runpy.run_path(str(ROOT / "docs" / "examples.py"))["draw"]
    for fresh in draw(tmp_path):
        kept = PAGE / "examples" / fresh.name
        assert np.array_equal(np.asarray(Image.open(kept)), np.asarray(Image.open(fresh))), fresh.name
        assert kept.stat().st_size < 50_000
