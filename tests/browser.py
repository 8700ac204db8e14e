"""A page in a real browser, without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
)


@contextmanager
def opened(page: Path | str) -> Iterator[Chrome]:
    """The browser, showing the file `page` or an address."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options, ChromeService(shutil.which("chromedriver") or ""))
    browser.get(page if isinstance(page, str) else page.as_uri())
    yield browser
    browser.quit()


def width_at(browser: Chrome, width: int) -> int:
    """How wide the page is in a window of `width` pixels."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    return int(browser.execute_script("return document.documentElement.scrollWidth"))  # type: ignore[no-untyped-call]
