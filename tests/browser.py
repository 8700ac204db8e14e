"""A page in a real browser, without a window."""

import importlib.util
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


def hindrances(browser: Chrome) -> list[str]:
    """What axe finds on the page that keeps somebody from using it, in light and in dark."""
    found = importlib.util.find_spec("axe_core_python")
    assert found is not None
    assert found.origin is not None
    browser.execute_script(Path(found.origin).with_name("axe.min.js").read_text("utf-8"))  # type: ignore[no-untyped-call]
    told: list[str] = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        script = "const done = arguments[0]; axe.run().then(done, error => done({violations: [{id: String(error), nodes: []}]}))"
        result = browser.execute_async_script(script)  # type: ignore[no-untyped-call]
        told += [
            f"{scheme}: {one['id']}: {node['html'][:120]}: {node['failureSummary'][:300]}"
            for one in result["violations"]
            for node in one["nodes"][:3] or [{"html": "", "failureSummary": ""}]
        ]
    return told
