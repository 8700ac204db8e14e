"""Does the page show the service, chat with it, and let one watch an answer survive its replica?"""

import os
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from tests.browser import hindrances, opened, width_at
from tests.serve.gateway.conftest import Service, serving
from tests.serve.models import write_model

pytestmark = pytest.mark.browser
PICTURES = os.environ.get("CORDEE_PICTURES")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    # Slow enough for somebody who reads along to strike in the middle of an answer.
    slow = write_model(tmp_path_factory.mktemp("page") / "slow", layers=256)
    with serving(slow, replicas=3) as running:
        yield running


@pytest.fixture
def page(service: Service) -> Iterator[Chrome]:
    with opened(f"{service.url}/") as browser:
        WebDriverWait(browser, 20).until(lambda b: "3 of 3" in text(b, "#health"))
        yield browser


def text(browser: Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


def picture(browser: Chrome, name: str) -> None:
    if PICTURES:
        browser.save_screenshot(f"{PICTURES}/{name}.png")


def replicas_of(browser: Chrome) -> list[str]:
    """The replicas that made the last answer, one for each stretch of it."""
    spans = browser.find_elements(By.CSS_SELECTOR, ".turn:last-child .said span")
    return [str(span.get_attribute("data-replica")) for span in spans]


def ask(browser: Chrome, words: str, tokens: int, temperature: str = "0") -> None:
    for name, value in (("tokens", str(tokens)), ("temperature", temperature)):
        field = browser.find_element(By.ID, name)
        field.clear()
        field.send_keys(value)
    browser.find_element(By.ID, "prompt").send_keys(words, Keys.ENTER)


@pytest.fixture(scope="module")
def words(service: Service) -> str:
    """A message that the small model has a lot to say to."""
    for number in range(200):
        message = {"role": "user", "content": f"Tell me about {number}"}
        body = {"messages": [message], "max_tokens": 900, "temperature": 0}
        reply = httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=60).json()
        if reply["usage"]["completion_tokens"] == 900:
            return str(message["content"])
    raise AssertionError("the model is always brief")


def whole(browser: Chrome) -> bool:
    return browser.find_element(By.ID, "send").is_enabled()


def test_the_page_shows_the_replicas_and_their_figures(page: Chrome, service: Service) -> None:
    names = {replica["name"] for replica in service.replicas()}
    shown = "return [...document.querySelectorAll('.replica .top b')].map(b => b.textContent)"
    assert set(page.execute_script(shown)) == names
    assert "Tokens per second" in text(page, "#figures")
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_page_can_be_used_by_everybody(page: Chrome, words: str) -> None:
    ask(page, words, 20)
    WebDriverWait(page, 20).until(lambda b: whole(b) and text(b, ".turn:last-child .said"))
    assert not hindrances(page)


def test_an_answer_goes_on_after_its_replica_is_killed_from_the_page(
    page: Chrome, service: Service, words: str
) -> None:
    page.set_window_size(1280, 1000)
    ask(page, words, 900)
    WebDriverWait(page, 20).until(lambda b: len(text(b, ".turn:last-child .said")) > 300)
    victim = replicas_of(page)[0]
    page.find_element(By.CSS_SELECTOR, f'[aria-label="Kill {victim}"]').click()
    WebDriverWait(page, 30).until(lambda b: len(replicas_of(b)) > 1)
    WebDriverWait(page, 60).until(whole)
    picture(page, "serve-chat")
    said = [s.text for s in page.find_elements(By.CSS_SELECTOR, ".turn:last-child .said span")]
    assert replicas_of(page)[1] != victim
    assert f"→ {replicas_of(page)[1]}" in text(page, ".turn:last-child .said")
    service.wait_ready(3)
    with opened(f"{service.url}/") as other:
        ask(other, words, 900)  # asked by itself, it is answered without a seam
        WebDriverWait(other, 5).until(lambda b: not whole(b))
        WebDriverWait(other, 60).until(whole)
        assert text(other, ".turn:last-child .said span") == "".join(said)


def test_what_happened_is_told_with_its_requests(
    page: Chrome, service: Service, words: str
) -> None:
    ask(page, words, 900)
    WebDriverWait(page, 20).until(lambda b: len(text(b, ".turn:last-child .said")) > 300)
    assert service.act(service.busy(), "hang").status_code == 200
    WebDriverWait(page, 60).until(whole)
    WebDriverWait(page, 20).until(
        lambda b: "1 request went on from their exact tokens" in text(b, "#events")
    )
    page.find_element(By.CSS_SELECTOR, "#events details summary").click()
    assert "exact" in text(page, "#events table")
    time.sleep(1.2)  # the state is drawn again meanwhile; what was opened stays open
    assert page.find_element(By.CSS_SELECTOR, "#events details").get_attribute("open") is not None
    picture(page, "serve-events")
    service.wait_ready(3)


def test_the_page_fits_a_telephone_and_a_wide_screen(page: Chrome) -> None:
    for width in (360, 820, 1600):
        assert width_at(page, width) <= width
        picture(page, f"serve-{width}")
