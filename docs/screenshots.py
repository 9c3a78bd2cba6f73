"""Takes the pictures of the page that the documents show, in a real Chromium, of a gateway that runs.

    .venv/bin/hemabench serve --all
    .venv/bin/python docs/screenshots.py http://127.0.0.1:3000

Needs Chromium with its driver (Debian: apt install chromium-driver) and selenium (the extra dev).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

IMAGES = Path(__file__).parent / "images"
DESKTOP, PHONE = (1280, 800), (390, 844)
PATIENCE_S = 60
COLOURS = 256
ASKED_FOR_THE_CURVES = 25


@contextmanager
def chromium(size: tuple[int, int], *, dark: bool = False) -> Iterator[Chrome]:
    """A browser whose page is ``size`` pixels large."""
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 2, "mobile": size == PHONE}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        yield driver
    finally:
        driver.quit()


def wait_for(driver: Chrome, css: str, count: int = 1) -> None:
    """Until ``count`` elements are there."""
    WebDriverWait(driver, PATIENCE_S).until(lambda it: len(it.find_elements(By.CSS_SELECTOR, css)) >= count)


def take(url: str, name: str, size: tuple[int, int], *, dark: bool = False, several: bool = False) -> None:
    """One picture, of one example that was asked some times, or of all of them."""
    with chromium(size, dark=dark) as driver:
        driver.get(url)
        wait_for(driver, ".service.ready")
        press = "#all-examples" if several else "[data-example=neutrophil]"
        driver.find_element(By.CSS_SELECTOR, press).click()
        wait_for(driver, ".card.agree, .card.disagree, .card.alone", 8 if several else 1)
        driver.find_element(By.ID, "live").click()
        driver.set_script_timeout(PATIENCE_S)
        driver.execute_async_script(f"setTimeout(arguments[0], {ASKED_FOR_THE_CURVES * 400})")
        driver.find_element(By.ID, "live").click()
        driver.execute_script(
            "scrollTo(0, 0)" if size == DESKTOP else "document.querySelector('#answers').scrollIntoView()"
        )
        driver.save_screenshot(IMAGES / name)
    with Image.open(IMAGES / name) as picture:  # a palette is a third of the size and looks the same
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(IMAGES / name, optimize=True)


def main(url: str) -> None:
    """Every picture."""
    IMAGES.mkdir(exist_ok=True)
    take(url, "page.png", DESKTOP)
    take(url, "page-several.png", DESKTOP, several=True)
    take(url, "page-dark.png", DESKTOP, dark=True, several=True)
    take(url, "page-phone.png", PHONE)


if __name__ == "__main__":
    main(*sys.argv[1:])
