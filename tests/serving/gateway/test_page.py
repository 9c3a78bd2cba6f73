"""The page in a real Chromium, over real services. Its pictures are kept in build/screenshots."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("selenium", reason="the extra dev is not installed")

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
DESKTOP, PHONE = (1280, 900), (360, 740)
PATIENCE_S = 120


@pytest.fixture(scope="module")
def chromium(chromedriver: str) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


class Page:
    """What a person does and sees."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, size: tuple[int, int] = DESKTOP) -> Page:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(self.url)
        self.wait(lambda: len(self.all(".service.ready")) == 2)
        return self

    def all(self, css: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str):
        (found,) = self.all(css)
        return found

    def text(self, css: str) -> str:
        return self.one(css).get_attribute("textContent")

    def texts(self, css: str) -> list[str]:
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", css
        )

    def wait(self, condition) -> None:
        WebDriverWait(self.driver, PATIENCE_S, 0.1).until(lambda _: condition())

    def choose(self, *paths: Path) -> None:
        self.one("#files").send_keys("\n".join(map(str, paths)))

    def give_by(self, event: str, name: str, content: bytes) -> None:
        """Paste or drop, as the browser tells the page of it."""
        self.driver.execute_script(
            """const [kind, name, text] = arguments, gift = new DataTransfer();
               const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
               gift.items.add(new File([bytes], name, { type: "image/png" }));
               const event = kind === "paste"
                 ? new ClipboardEvent("paste", { clipboardData: gift, bubbles: true })
                 : new DragEvent(kind, { dataTransfer: gift, bubbles: true, cancelable: true });
               document.body.dispatchEvent(event);""",
            event,
            name,
            base64.b64encode(content).decode(),
        )

    def wait_for_verdict(self) -> str:
        self.wait(lambda: self.all("#detail .verdict:not(.waiting)"))
        return self.text("#detail .verdict")

    def picture(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(SCREENSHOTS / f"{name}.png")


@pytest.fixture
def page(chromium: Chrome, gateway) -> Iterator[Page]:
    opened = Page(chromium, gateway.url).open()
    chromium.get_log("browser")
    yield opened
    complaints = [entry["message"] for entry in chromium.get_log("browser")]
    assert complaints == [], "the browser's console is clean: no script failed and the policy refused nothing"


@pytest.fixture
def cell(tmp_path: Path, cell_png: bytes) -> Path:
    path = tmp_path / "cell.png"
    path.write_bytes(cell_png)
    return path


def test_the_notice_is_in_sight_wherever_the_page_is_scrolled(page):
    page.one("#all-examples").click()
    page.driver.execute_script("scrollTo(0, document.body.scrollHeight)")
    notice = page.one("#notice")
    assert notice.text == "Research use only. Not for diagnosis."
    top = page.driver.execute_script("return arguments[0].getBoundingClientRect().top", notice)
    assert 0 <= top < DESKTOP[1]
    page.wait(lambda: len(page.all(".card:not(.waiting)")) == 8)


def test_a_chosen_image_is_answered_by_every_runtime_side_by_side(page, cell):
    page.choose(cell)
    assert "ONNX Runtime" in page.wait_for_verdict()  # the null model says something else
    assert page.texts(".probabilities thead th[scope=col]") == ["ONNX Runtime", "Null"]
    assert len(page.all(".probabilities tbody tr")) == 8
    for runtime in ("onnx", "null"):
        shares = page.texts(f"td.share[data-runtime={runtime}] .number")
        assert sum(float(re.sub("[<>]", "", share)) for share in shares) == pytest.approx(100, abs=0.6)
    page.picture("chosen")


def test_the_time_is_drawn_from_server_timing(page, cell):
    page.choose(cell)
    page.wait_for_verdict()
    widths = page.driver.execute_script(
        """return [...document.querySelectorAll(".track .parts")].map((track) =>
             [...track.children].reduce((sum, part) => sum + part.getBoundingClientRect().width, 0)
               / track.getBoundingClientRect().width)"""
    )
    assert max(widths) == pytest.approx(1, abs=0.02)
    assert all(re.search(r"read [\d.]+, .*infer [\d.]+, .*network", words) for words in page.texts(".track .number"))
    assert page.all("#latency [data-runtime=onnx] .line")


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_an_image_may_be_pasted_or_dropped(page, cell_png, event):
    page.give_by(event, "gift.png", cell_png)
    page.wait_for_verdict()
    assert page.text("#detail-title") == "gift.png"


def test_what_is_no_cell_is_marked_on_its_card_and_told_beside_its_label(page, cell, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("RGB", (40, 40), "white").save(blank)
    page.choose(cell, blank)
    page.wait(lambda: len(page.all(".card:not(.waiting)")) == 2)
    by_name = {card.find_element(By.CSS_SELECTOR, ".file").text: card for card in page.all(".card")}
    assert "out of distribution" not in by_name["cell.png"].text
    assert "out of distribution" in by_name["blank.png"].text
    for name, said in (("cell.png", "In distribution:"), ("blank.png", "Out of distribution:")):
        by_name[name].click()
        page.wait(lambda said=said: page.texts("#detail .distribution")[0].startswith(said))
    assert "Do not rely on the label" in page.text("#detail .distribution")
    page.picture("out-of-distribution")


def test_a_broken_file_is_told_in_words(page, tmp_path, cell_png):
    broken = tmp_path / "broken.png"
    broken.write_bytes(cell_png[:200])
    page.choose(broken)
    assert re.search("truncated|damaged|complete|cut", page.wait_for_verdict())
    page.picture("broken")


def test_an_image_that_is_too_large_is_told_in_words(page, tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(b"x" * 2_000_001)
    page.choose(large)
    assert "larger than 2,000,000 bytes" in page.wait_for_verdict()
    page.driver.get_log("browser")  # Chromium notes the status 413 by itself


def test_several_images_become_a_grid_in_which_one_is_chosen(page, cell, tmp_path):
    text = tmp_path / "notes.png"
    text.write_bytes(b"no image")
    page.choose(cell, text)
    page.one("[data-example=platelet]").click()
    page.wait(lambda: len(page.all(".card:not(.waiting)")) == 3)
    page.wait(lambda: page.text("#status").startswith("3 of 3 images"))
    assert "1 not classified" in page.text("#status")
    page.all(".card")[1].click()
    assert page.text("#detail-title") == "notes.png"
    assert page.text("#detail .picture.none") == "PNG", "what the browser cannot draw is named instead"
    assert [card.get_attribute("aria-pressed") for card in page.all(".card")] == ["false", "true", "false"]
    page.picture("several")


def test_another_resolution_asks_again_and_only_loaded_ones_can_be_chosen(page, cell):
    page.choose(cell)
    page.wait_for_verdict()
    before = page.texts("td.share .number")
    enabled = [one.get_attribute("value") for one in page.all("#resolutions input:enabled")]
    assert enabled == ["28", "64"]
    page.driver.execute_script("arguments[0].click()", page.one("#resolutions input[value='64']"))
    page.wait(lambda: page.all("td.share") and page.texts("td.share .number") != before)


def test_the_curve_grows_while_it_keeps_asking(page, cell):
    page.choose(cell)
    page.wait_for_verdict()
    page.one("#live").click()
    points = "return document.querySelector('#latency .line').getAttribute('d').split(/[ML]/).length - 1"
    page.wait(lambda: page.driver.execute_script(points) >= 4)
    page.one("#live").click()


def test_a_service_that_is_down_is_shown_and_the_others_answer(page, gateway, cell):
    gateway.kill("null")
    page.wait(lambda: page.all(".service.down[data-runtime=null]"))
    page.choose(cell)
    assert "Only ONNX Runtime answered" in page.wait_for_verdict()
    assert "null is down" in page.text("td.missing[data-runtime=null]").lower()
    page.picture("one-down")
    page.wait(lambda: len(page.all(".service.ready")) == 2)


def test_everything_fits_the_width_of_a_phone(page):
    page.open(PHONE)
    page.one("#all-examples").click()
    page.wait(lambda: len(page.all(".card:not(.waiting)")) == 8)
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    page.picture("phone")
    page.one("#clear").click()
    page.one("[data-example=neutrophil]").click()
    page.wait_for_verdict()
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    page.driver.execute_script("document.querySelector('#detail').scrollIntoView()")
    page.picture("phone-detail")


def test_the_keyboard_alone_gets_an_answer_and_another(page):
    focused = "return document.activeElement.id || document.activeElement.dataset.example || ''"
    keys = ActionChains(page.driver)
    visited = []
    for _ in range(20):
        keys.send_keys(Keys.TAB).perform()
        visited.append(page.driver.execute_script(focused))
        if visited[-1] == "platelet":
            break
    assert visited[1] == "files", "after the skip link comes the choice of files"
    ActionChains(page.driver).send_keys(Keys.ENTER).perform()
    page.wait_for_verdict()
    ActionChains(page.driver).send_keys(Keys.TAB, Keys.TAB, Keys.ARROW_RIGHT).perform()
    assert page.one("#resolutions input:checked").get_attribute("value") == "64"
    page.picture("keyboard")


def test_what_changes_is_told_to_screen_readers_and_what_is_drawn_has_words(page, cell):
    page.choose(cell)
    page.wait_for_verdict()
    assert page.one("#status").get_attribute("aria-live") == "polite"
    page.wait(lambda: page.text("#status") != "")
    nameless = page.driver.execute_script(
        """return [...document.querySelectorAll("button, input")].filter((one) => !one.disabled &&
             !(one.textContent.trim() || one.labels?.[0]?.textContent.trim())).length"""
    )
    assert nameless == 0


def test_text_stands_out_from_its_ground_in_light_and_dark(page, cell):
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        for ink, ground in (
            ("--ink", "--ground"),
            ("--faint", "--ground"),
            ("--faint", "--sheet"),
            ("--bad", "--sheet"),
            ("--warn-ink", "--warn-ground"),
            ("--accent", "--sheet"),
            ("--good", "--sheet"),
        ):
            assert contrast(colour(page, ink), colour(page, ground)) >= 4.5, (scheme, ink, ground)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def colour(page: Page, name: str) -> tuple[float, ...]:
    script = """const probe = document.createElement("i");
        probe.style.color = `var(${arguments[0]})`;
        document.body.append(probe);
        const found = getComputedStyle(probe).color;
        probe.remove();
        return found;"""
    return tuple(int(part) / 255 for part in re.findall(r"\d+", page.driver.execute_script(script, name))[:3])


def contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """As WCAG 2.2 defines it."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(rgb: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
