"""The whole report in a real Chromium: on a phone and a desk, by day and by night, by keyboard, on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from commands.report import conclude

DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    DRIVER is None, reason="no Chromium with its driver on this machine (Debian: apt install chromium-driver)"
)
PATIENCE_S = 60


@pytest.fixture(scope="module")
def address(build, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with a load run as a chapter of another."""
    place = tmp_path_factory.mktemp("page")
    folder = build.write(place / "run", resolutions_px=(28, 64), runtimes=("pytorch", "jax", "onnx"), requests=200)
    other = build.write(place / "other", runtimes=("onnx",), scenarios=("open_loop",), requests=200)
    conclude(folder, as_json=True, cache=place / "no-cache", chapters=[other])
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(browser, address: str, *, width: int = 1280, scheme: str = "light", media: str = "") -> None:
    """The page, its charts alive."""
    from selenium.webdriver.support.wait import WebDriverWait

    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.get(address)
    alive = "return [...document.querySelectorAll('.chart')].every(one => one.classList.contains('vega-embed'))"
    WebDriverWait(browser, PATIENCE_S).until(lambda it: it.execute_script(alive))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen_and_nothing_is_logged(browser, address: str, width: int, scheme: str) -> None:
    opened(browser, address, width=width, scheme=scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []


def test_every_chart_is_drawn_in_the_place_of_its_own(browser, address: str) -> None:
    opened(browser, address)
    labels = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map(one => [one.id, one.querySelectorAll('svg.marks').length])"
    )
    assert len(labels) == len({name for name, _ in labels}) > 8
    assert all(pictures == 1 for _, pictures in labels)
    assert any(name.startswith("load-1-") for name, _ in labels)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(browser, address: str, scheme: str) -> None:
    """WCAG AA asks for 4.5 to 1."""
    opened(browser, address, scheme=scheme)
    ratios = browser.execute_script(
        """
        const light = (colour) => {
          const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3)
            .map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const of = (css) => {
          const element = document.querySelector(css);
          let behind = element;
          while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
          const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(light);
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        };
        return [".answer p", ".machine", ".meta", ".note", ".contents a", ".valid", ".gallery .answered"].map(of);
        """
    )
    assert min(ratios) >= 4.5, ratios


def test_the_contents_lead_by_keyboard_to_every_part(browser, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, address)
    body = browser.switch_to.active_element
    body.send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.get_attribute("href").endswith("#speed")
    first.send_keys(Keys.ENTER)
    assert browser.current_url.endswith("#speed")
    targets = browser.execute_script(
        "return [...document.querySelectorAll('.contents a')].map(one => document.querySelector(one.hash)?.tagName)"
    )
    assert set(targets) == {"H2"}


def test_on_paper_no_table_is_cut_and_no_menu_is_shown(browser, address: str) -> None:
    opened(browser, address, width=1000, media="print")
    cut = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(one => getComputedStyle(one).overflowX !== 'visible').length"
    )
    menus = browser.execute_script(
        "return [...document.querySelectorAll('details.vega-actions, .vega-embed summary')]"
        ".filter(one => getComputedStyle(one).display !== 'none').length"
    )
    assert (cut, menus) == (0, 0)


def test_a_runtime_and_a_resolution_that_are_not_wanted_leave_the_tables(browser, address: str) -> None:
    opened(browser, address)
    shown = (
        "return [...document.querySelectorAll('#speed ~ .scroll tbody tr')]"
        ".filter(one => one.offsetParent).map(one => one.innerText)"
    )
    everything = browser.execute_script(shown)
    for name in ("jax", "28"):
        browser.execute_script("document.getElementById(arguments[0]).click()", f"show-{name}")
    left = browser.execute_script(shown)
    assert len(everything) == 6
    assert len(left) == 2
    assert all(row.startswith("64") and "JAX" not in row for row in left)


EVENT_ON_A_CHART = """
    const chart = [...document.querySelectorAll('.chart')].find((one) => one.id.startsWith('response-'));
    chart.scrollIntoView({ block: 'center' });
    const picture = chart.querySelector('.role-frame > g > path.background');
    const { left, top, width, height } = picture.getBoundingClientRect();
    const middle = { clientX: left + width / 2, clientY: top + height / 2, bubbles: true, cancelable: true };
    const [kind, options] = arguments;
    const made = kind === 'wheel' ? WheelEvent : MouseEvent;
    picture.dispatchEvent(new made(kind, { ...middle, ...options }));
"""
TICKS_OF_THE_CHART = """
    const chart = [...document.querySelectorAll('.chart')].find((one) => one.id.startsWith('response-'));
    return [...chart.querySelectorAll('.role-axis-label text')].map((one) => one.textContent).join(' ');
"""


def test_ctrl_and_the_wheel_zoom_into_a_chart_and_a_double_click_shows_all_again(browser, address: str) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    opened(browser, address)
    whole = browser.execute_script(TICKS_OF_THE_CHART)
    browser.execute_script(EVENT_ON_A_CHART, "wheel", {"deltaY": -300})
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert browser.execute_script(TICKS_OF_THE_CHART) == whole
    browser.execute_script(EVENT_ON_A_CHART, "wheel", {"deltaY": -300, "ctrlKey": True})
    WebDriverWait(browser, PATIENCE_S).until(lambda it: it.execute_script(TICKS_OF_THE_CHART) != whole)
    browser.execute_script(EVENT_ON_A_CHART, "dblclick", {})
    WebDriverWait(browser, PATIENCE_S).until(lambda it: it.execute_script(TICKS_OF_THE_CHART) == whole)
