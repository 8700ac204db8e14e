"""The section about ranks in a browser: what one sees of a run of many."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tests.browser import opened, width_at
from tests.emulator.timeline.journals import late

from cordee.emulator import report
from cordee.emulator.timeline import timeline

pytestmark = pytest.mark.browser

RANKS = 64


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    target = tmp_path_factory.mktemp("ranks") / "run.html"
    processes = late(rank=40, delay_s=0.03, ranks=RANKS)
    outcome = report.Outcome(command=["x.py"], exit_code=0, began=datetime.now(UTC), duration_s=1)
    report.write(processes, timeline(processes), [], outcome, target)
    with opened(target) as browser:
        yield browser


def lanes(page: Chrome) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, "svg.lanes")


def test_every_rank_has_a_lane_that_can_be_told_from_the_next(page: Chrome) -> None:
    tracks = lanes(page).find_elements(By.CSS_SELECTOR, ".track")
    assert len(tracks) == RANKS
    tops = [track.rect["y"] for track in tracks]
    assert all(after - before >= 5 for before, after in itertools.pairwise(tops))


def test_waiting_is_seen_at_its_length(page: Chrome) -> None:
    track = lanes(page).find_element(By.CSS_SELECTOR, ".track")
    wait = lanes(page).find_element(By.CSS_SELECTOR, ".waiting")
    assert wait.rect["width"] / track.rect["width"] == pytest.approx(30 / 32, abs=0.02)


def test_labels_do_not_touch(page: Chrome) -> None:
    texts = lanes(page).find_elements(By.TAG_NAME, "text")
    boxes = [text.rect for text in texts if text.text.startswith("rank")]
    assert len(boxes) == RANKS / 2
    assert all(
        upper["y"] + upper["height"] <= lower["y"] + 2 for upper, lower in itertools.pairwise(boxes)
    )


def test_ranks_beyond_the_first_are_folded_away(page: Chrome) -> None:
    first = page.find_element(By.CSS_SELECTOR, "#ranks tbody tr")
    assert first.text.startswith("rank 40")
    rest = page.find_element(By.ID, "more-ranks")
    assert not rest.is_displayed()
    page.find_element(By.XPATH, "//summary[text()='48 more ranks']").click()
    assert rest.is_displayed()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window(page: Chrome, width: int) -> None:
    assert width_at(page, width) <= width
