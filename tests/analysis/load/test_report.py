"""The report as a reader, a browser without a network, and a browser without JavaScript get it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.html import inside_a_script
from analysis.load.report import render_report, write_report
from analysis.load.runs import load_run
from analysis.load.summary import summarise
from analysis.plots import javascript
from analysis.statistics import Estimate
from analysis.wording import interval_of, value_of
from contract.blood_cells import NOTICE
from contract.errors import RunInvalid

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags, attributes, the visible text and the scripts of a page; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open and self._open[-1] != "style":
            self.text += data + " "

    def words(self) -> str:
        return " ".join(self.text.split())


def page_of(build, folder: Path, **options) -> Page:
    return Page(write_report(build.write(folder, **options)).read_text())


@pytest.fixture(scope="module")
def full(build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with four runtimes, two resolutions and two scenarios."""
    return build.write(
        tmp_path_factory.mktemp("full"),
        runtimes=("pytorch", "tensorflow", "jax", "onnx"),
        resolutions_px=(28, 64),
        scenarios=("closed_loop", "open_loop"),
        requests=300,
    )


@pytest.fixture(scope="module")
def html(full: Path) -> str:
    return write_report(full).read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_report_is_one_file_in_the_run_folder(full: Path) -> None:
    before = set(full.rglob("*"))
    path = write_report(full)
    assert path == full / "report.html"
    assert set(full.rglob("*")) - before == {path}


def test_nothing_in_the_report_points_outside_it(page: Page, html: str) -> None:
    ids = {value for _, name, value in page.attributes if name == "id"}
    for tag, name, value in page.attributes:
        if name == "href":
            assert value.removeprefix("#") in ids, value  # the contents, and nothing else
            continue
        assert name not in {"src", "action", "srcset", "data", "poster"}, (tag, name, value)
        if name != "xmlns" and not name.startswith("xmlns:"):
            assert "//" not in value, (tag, name, value)
    assert "@import" not in page.text
    assert "url(" not in html.split("<script")[0]


def test_the_browser_is_told_to_contact_nobody(page: Page) -> None:
    (policy,) = [value for _, name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "connect-src" not in policy  # so default-src forbids it


def test_addresses_in_the_script_are_names_and_never_fetched(page: Page) -> None:
    allowed = {"www.w3.org", "vega.github.io", "github.com"}
    hosts = {host for script in page.scripts for host in re.findall(r"https?://([\w.-]+)", script)}
    assert hosts <= allowed


def test_every_number_of_the_times_stands_in_the_page_with_interval_and_n(full: Path, page: Page) -> None:
    words = page.words()
    for contender in summarise(load_run(full)).contenders:
        figures = contender.figures
        for figure in (figures.response_p50_ns, figures.response_p90_ns, figures.infer_p50_ns, figures.network_p50_ns):
            assert isinstance(figure, Estimate)
            assert f"{value_of(figure, 'bare_ms')} {interval_of(figure, 'bare_ms')}" in words
        assert f"{contender.requests:,}" in words


def test_the_same_run_gives_the_same_report(full: Path) -> None:
    assert write_report(full).read_bytes() == write_report(full).read_bytes()


def test_tables_and_pictures_are_there_without_javascript(html: str) -> None:
    body = html.split("<script")[0]
    assert body.count("<table") >= 6
    # Two line charts and one more for the open loop; parts and distributions at two resolutions; serving tax.
    assert body.count("<svg") == 3 + 2 + 2 + 1
    assert "</main>" in body


def test_charts_carry_their_data_and_have_a_place_each(page: Page) -> None:
    (specs,) = [script for script in page.scripts if script.startswith("{")]
    ids = {value for tag, name, value in page.attributes if name == "id" and tag == "div"}
    assert set(json.loads(specs)) == ids
    assert all("datasets" in spec and "url" not in json.dumps(spec) for spec in json.loads(specs).values())


def test_the_script_is_the_bundle_and_cannot_end_early(page: Page) -> None:
    assert page.scripts[0] == javascript()
    assert inside_a_script("a = '</script>'; b = /</g") == r"a = '<\/script>'; b = /</g"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; the page is then checked as text only")
def test_in_a_browser_every_chart_comes_alive_without_an_error(full: Path, html: str, tmp_path: Path) -> None:
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--enable-logging=stderr"]
    browser = subprocess.run(
        [str(CHROMIUM), *options, "--virtual-time-budget=10000", "--dump-dom", (full / "report.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [line for line in browser.stderr.splitlines() if "CONSOLE" in line] == []
    assert browser.stdout.count('class="chart vega-embed') == html.count('class="chart"')


def test_pictures_are_described_in_words(page: Page) -> None:
    assert all(value for _, name, value in page.attributes if name == "aria-label")
    assert sum(1 for tag, name, value in page.attributes if (tag, name, value) == ("div", "role", "img")) == 8


@pytest.mark.acceptance("D3")
def test_missing_and_invalid_cells_show_reasons_instead_of_numbers(build, tmp_path: Path) -> None:
    def spoil(cell, records, outcome):
        if cell.runtime == "jax":
            return records[:200], None
        return records, build.outcome(cell, records, dropped=7 if cell.runtime == "onnx" else 0)

    page = page_of(build, tmp_path, runtimes=("pytorch", "jax", "onnx"), edit=spoil)
    words = page.words()
    assert "1 valid 1 invalid 1 missing of 3 cells" in words
    assert "records of 200 requests kept" in words
    assert "7 arrivals were never sent" in words
    rows = re.findall(r"<tr>.*?</tr>", (tmp_path / "report.html").read_text(), re.DOTALL)
    (row,) = [row for row in rows if "ONNX Runtime" in row and "never sent" in row]
    assert "ms" not in re.sub(r"<[^>]*>", " ", row).split()


def test_a_run_without_any_valid_cell_still_has_a_report(build, tmp_path: Path) -> None:
    page = page_of(build, tmp_path, edit=lambda cell, records, outcome: (records, None))
    assert "says nothing about speed" in page.words()
    assert page.scripts == []


def test_a_run_that_stopped_before_its_first_cell_still_has_a_report(build, tmp_path: Path) -> None:
    assert "0 of 0 cells are valid" in page_of(build, tmp_path, runtimes=()).words()


def test_a_folder_that_is_no_run_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rendered_images_are_announced_loudly_and_get_no_accuracy(build, tmp_path: Path) -> None:
    words = page_of(build, tmp_path, data_is_real=False, data_source="synthetic").words()
    assert words.index("Synthetic images. Speed is measured, accuracy is not") < words.index("The answer")
    assert "98.0 %" not in words


def test_real_images_carry_no_such_notice(page: Page) -> None:
    assert "Synthetic images." not in page.text


@pytest.mark.acceptance("P1")
def test_the_report_says_what_it_is_not_for_at_both_ends(page: Page) -> None:
    words = page.words()
    assert words.count(NOTICE) == 2


def test_parity_environment_and_command_are_in_the_report(page: Page) -> None:
    words = page.words()
    assert words.count("2.4e-06") == 8
    for expected in ("hemabench run --profile quick --seed 7", "Example CPU @ 2.60GHz", "2.13.0", "governor"):
        assert expected in words


def test_recorded_text_cannot_become_markup(build, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><b>"

    def fail(cell, records, outcome):
        return records, build.outcome(cell, records, error=evil if cell.runtime == "onnx" else None)

    page = page_of(
        build,
        tmp_path,
        runtimes=("pytorch", "onnx"),
        edit=lambda cell, records, outcome: (
            fail(cell, records, outcome) if cell.runtime == "onnx" else (records, outcome)
        ),
        command=evil,
        data_description=evil,
    )
    assert page.words().count(evil) >= 3
    assert all("alert(1)" not in script for script in page.scripts)


def test_a_runtime_with_a_strange_name_cannot_leave_the_charts_data(build, tmp_path: Path) -> None:
    summary = summarise(load_run(build.write(tmp_path, runtimes=("</script><b>", "pytorch"))))
    page = Page(render_report(summary))
    assert "</script><b>" in page.text
    assert len(page.scripts) == 3


def test_another_place_can_be_named(full: Path, tmp_path: Path) -> None:
    assert write_report(full, into=tmp_path / "there" / "r.html", baseline="onnx").is_file()
