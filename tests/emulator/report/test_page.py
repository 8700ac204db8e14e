"""The report in a browser: what it says of the program, and that it works offline."""

import re
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tests.browser import opened, width_at
from tests.emulator.report.conftest import Left

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(left: Left) -> Iterator[Chrome]:
    with opened(left.report) as browser:
        yield browser


def section(page: Chrome, heading: str) -> WebElement:
    return page.find_element(By.XPATH, f"//section[h2[text()='{heading}']]")


def names(table: WebElement) -> list[str]:
    rows = table.find_elements(By.CSS_SELECTOR, "tbody td.name")
    return [row.text for row in rows if row.is_displayed()]


def test_the_page_asks_the_network_for_nothing_and_complains_of_nothing(page: Chrome) -> None:
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']", page.page_source)
    assert page.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_the_page_names_the_program_and_how_it_ended(page: Chrome) -> None:
    assert page.find_element(By.TAG_NAME, "h1").text.startswith("program.py")
    failure = section(page, "The program ended with an error")
    assert "ValueError: this is how it ends" in failure.text
    assert "program.py:" in failure.text


def test_every_operator_is_in_the_table_with_its_place(page: Chrome) -> None:
    row = page.find_element(By.XPATH, "//table[@id='operators']//tr[td[text()='aten::relu']]")
    assert re.search(r"\b3\b.*native.*program\.py:\d+", row.text, re.DOTALL)


def test_what_falls_back_to_the_host_has_a_section_of_its_own(page: Chrome) -> None:
    assert names(section(page, "Falls back to the host")) == ["aten::geometric_"]


def test_what_failed_has_a_section_of_its_own(page: Chrome) -> None:
    assert names(section(page, "Failed")) == ["npu::attention_worker_scheduler"]


def test_memory_is_drawn_against_capacity(page: Chrome) -> None:
    memory = section(page, "Memory")
    assert re.search(r"peak .* of 61\.0 GiB", memory.text)
    assert memory.find_elements(By.CSS_SELECTOR, "svg.plot polyline.allocated")


def test_numerics_are_told_for_each_module(page: Chrome) -> None:
    assert "Net.up" in section(page, "Numerics").text


def test_a_word_in_the_filter_leaves_the_rows_that_have_it(page: Chrome) -> None:
    box = page.find_element(By.CSS_SELECTOR, "input[data-filters=operators]")
    box.send_keys("relu")
    assert names(page.find_element(By.ID, "operators")) == ["aten::relu"]
    box.clear()
    box.send_keys(" ")
    assert len(names(page.find_element(By.ID, "operators"))) > 5


def test_a_heading_sorts_by_its_column(page: Chrome) -> None:
    table = page.find_element(By.ID, "operators")
    table.find_element(By.XPATH, ".//th/button[text()='operator']").click()
    assert names(table) == sorted(names(table))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window(page: Chrome, width: int) -> None:
    assert width_at(page, width) <= width
