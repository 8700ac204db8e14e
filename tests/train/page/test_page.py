"""Does the page of a job show what becomes of it, and does the report afterwards show the same?"""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tests.browser import hindrances, opened, width_at
from tests.train.jobs import SMALL, Ended
from tests.waiting import until

PICTURES = os.environ.get("CORDEE_PICTURES")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ended, str]]:
    """A job that goes on until it is ended, and the address of its page."""
    folder = tmp_path_factory.mktemp("job")
    command = [sys.executable, "-m", "cordee", "train", "-n", "2", "--spares", "1"]
    process = subprocess.Popen(
        [*command, "--folder", str(folder), "--", str(SMALL), "--steps=2000", "--shard-s=0.01"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = iter(process.stdout)
    address = next(line.split()[1] for line in lines if line.startswith("page: "))
    yield Ended(0, "", "", folder), address
    process.terminate()
    process.communicate(timeout=30)


def asked(url: str, method: str = "GET") -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as reply:
        return str(reply.read().decode())


def text(browser: Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


def clean(browser: Chrome) -> bool:
    return not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_prometheus_reads_the_figures_and_nobody_can_change_anything(
    running: tuple[Ended, str],
) -> None:
    _, address = running
    until(lambda: "cordee_train_members 2.0" in asked(f"{address}metrics"))
    with pytest.raises(urllib.error.HTTPError, match="405"):
        asked(f"{address}job/status", "POST")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked(f"{address}../etc/passwd")


@pytest.mark.browser
def test_the_page_shows_a_loss_and_the_report_shows_it_afterwards(
    running: tuple[Ended, str], tmp_path: Path
) -> None:
    job, address = running
    with opened(address) as browser:
        WebDriverWait(browser, 60).until(lambda b: text(b, "#state-badge") == "trains")
        assert "No worker was lost" in text(browser, "#no-recoveries")
        (victim,) = (event for event in job.of("worker") if event["worker"] == 0)
        os.kill(victim["pid"], signal.SIGKILL)
        WebDriverWait(browser, 30).until(lambda b: "its connection" in text(b, "#recoveries"))
        WebDriverWait(browser, 30).until(lambda b: "lost: " in text(b, "#workers"))
        WebDriverWait(browser, 30).until(lambda b: "kB" in text(b, "#links"))
        assert browser.find_elements(By.CSS_SELECTOR, "#over-time rect.lost")
        chart = browser.find_element(By.ID, "over-time")  # what is in it is drawn anew
        ActionChains(browser).move_to_element(chart).perform()
        WebDriverWait(browser, 10).until(lambda b: "shards/s" in text(b, "#readout"))
        for width in (360, 820, 1600):
            assert width_at(browser, width) <= width
            if PICTURES:
                browser.save_screenshot(f"{PICTURES}/train-{width}.png")
        assert hindrances(browser) == []
        assert clean(browser)
    target = tmp_path / "report.html"
    show = [sys.executable, "-m", "cordee", "train", "show", str(job.folder)]
    subprocess.run([*show, "--output", str(target)], check=True, stdout=subprocess.DEVNULL)
    with opened(target) as browser:
        WebDriverWait(browser, 10).until(lambda b: "its connection" in text(b, "#recoveries"))
        assert "cordee train show" in text(browser, "#about")
        assert clean(browser)


def test_a_port_that_is_taken_or_none_is_named(running: tuple[Ended, str], tmp_path: Path) -> None:
    _, address = running
    port = address.rstrip("/").rpartition(":")[2]
    taken = (
        f"cannot listen on 127.0.0.1 port {port}: address already in use; give another with --page"
    )
    for where, said in ((port, taken), ("home", "--page home: give PORT, HOST:PORT, or off")):
        command = [sys.executable, "-m", "cordee", "train", "--page", where]
        done = subprocess.run(
            [*command, "--folder", str(tmp_path), "--", str(SMALL)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr == f"error: {said}\n"
