"""The report in a browser: what it says of a repository, how it filters, and that it works offline."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from tests.browser import opened, width_at
from tests.port.report.made import ROOT, Result, assessment, finding, of_folder

from cordee.core.errors import UsageError
from cordee.port.assessment import Judged
from cordee.port.finding import Effort, Meaning
from cordee.port.report import write

pytestmark = pytest.mark.browser

HOSTILE = '</script><img src=x onerror="document.title=1"><!-- {{ 1 }} `é\u2028`'
KERNEL = finding(
    HOSTILE, path="ops/<b>.py", meaning=Meaning.MISSING, effort=Effort.L, says=HOSTILE, rule="NV901"
)
SAFE = finding("    y = x.cuda()", tie="x.cuda()", path="ops/run.py", new="x.to(device)")
MANY = [
    finding(f"x{n}.cuda()", path=f"p/{n % 400}.py", before="\n" * n, new="y" if n % 3 else None)
    for n in range(10_000)
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    target = tmp_path_factory.mktemp("assess") / "gpt.html"
    write(of_folder(ROOT / "examples/nvidia_gpt"), target)
    with opened(target) as browser:
        yield browser


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    target = tmp_path_factory.mktemp("ported") / "page.html"
    unread = Judged("old.py", "python", 9, problem="old.py: Missing parentheses")
    write(assessment(KERNEL, SAFE, files=(unread,)), target, Result(made=[SAFE]))
    with opened(target) as browser:
        yield browser


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    target = tmp_path_factory.mktemp("large") / "page.html"
    write(assessment(*MANY), target)
    with opened(target) as browser:
        yield browser


def view(page: Chrome, hash_: str) -> None:
    """Show what the address asks for, as following a link does."""
    page.execute_async_script(  # type: ignore[no-untyped-call]
        "const [hash, done] = arguments;"
        "if (location.hash === `#${hash}`) return done();"
        "addEventListener('hashchange', () => setTimeout(done), { once: true });"
        "location.hash = hash;",
        hash_,
    )


def shown(page: Chrome, holds: object) -> None:
    assert callable(holds)
    WebDriverWait(page, 20).until(lambda _: holds())


def count(page: Chrome) -> str:
    return page.find_element(By.ID, "count").text


def paths(page: Chrome) -> list[str]:
    found = "return [...document.querySelectorAll('.file h3')].map((h3) => h3.textContent)"
    return list(page.execute_script(found))  # type: ignore[no-untyped-call]


def open_(box: WebElement) -> WebElement:
    """The inside is built when the browser tells that it is open, which is after the click."""
    box.find_element(By.TAG_NAME, "summary").click()
    shown(box.parent, lambda: len(box.find_elements(By.XPATH, "./*")) > 1)
    return box


def complaints(page: Chrome) -> object:
    return page.get_log("browser")  # type: ignore[no-untyped-call]


def test_the_page_asks_the_network_for_nothing_and_complains_of_nothing(page: Chrome) -> None:
    assert not re.findall(r"<link|\bsrc\s*=|url\(|@import", page.page_source)
    assert complaints(page) == []


def test_the_head_says_how_ready_it_is_and_what_comes_next(page: Chrome) -> None:
    assert page.find_element(By.TAG_NAME, "h1").text.startswith("nvidia_gpt")
    ring = page.find_element(By.CSS_SELECTOR, ".ring svg").get_attribute("aria-label")
    assert re.fullmatch(r"Readiness: \d+ percent", ring or "")
    assert page.find_element(By.CSS_SELECTOR, ".step").text.startswith("Run cordee port")


def test_files_are_closed_until_they_are_opened(page: Chrome) -> None:
    view(page, "q=manual_seed_all")
    page.find_element(By.ID, "clear").click()
    assert sorted(paths(page)) == ["corpus.py", "model.py", "sample.py", "train.py"]
    assert not page.find_elements(By.CSS_SELECTOR, ".tie")


def test_a_tie_opens_to_its_code_its_fix_and_its_source(page: Chrome) -> None:
    view(page, "path=train.py&q=is_available")
    tie = open_(page.find_element(By.CSS_SELECTOR, ".tie"))
    assert "cuda" in tie.find_element(By.CSS_SELECTOR, ".whole-code mark").text
    assert tie.find_element(By.CSS_SELECTOR, ".diff .old").text.startswith("- ")
    assert "torch.accelerator" in tie.find_element(By.CSS_SELECTOR, ".diff .new").text
    assert {"on Ascend", "effort", "confidence", "rule", "source"} <= {
        dt.text for dt in tie.find_elements(By.TAG_NAME, "dt")
    }


def test_typing_filters_and_the_address_remembers(page: Chrome) -> None:
    view(page, "order=path")
    page.find_element(By.NAME, "q").send_keys("Stream corpus")
    shown(page, lambda: paths(page) == ["corpus.py"])
    assert page.execute_script("return location.hash") == "#order=path&q=Stream%20corpus"  # type: ignore[no-untyped-call]
    Select(page.find_element(By.NAME, "state")).select_by_value("left")
    shown(page, lambda: count(page) == "Nothing fits these filters.")
    page.find_element(By.ID, "clear").click()
    assert len(paths(page)) == 4


def test_a_place_on_the_map_and_a_bar_are_filters(page: Chrome) -> None:
    view(page, "order=path")
    page.find_element(By.CSS_SELECTOR, ".map.wide a[href='#path=model.py']").click()
    shown(page, lambda: paths(page) == ["model.py"])
    page.find_element(By.CSS_SELECTOR, "#chosen button").click()
    shown(page, lambda: len(paths(page)) == 4)
    page.find_element(By.LINK_TEXT, "Devices and their names").click()
    shown(page, lambda: " of " in count(page))
    assert Select(page.find_element(By.NAME, "rule")).first_selected_option.text.startswith(
        "all of"
    )


def test_what_blocks_stands_first_and_leads_to_its_place(blocked: Chrome) -> None:
    section = blocked.find_element(By.CSS_SELECTOR, "section.blockers")
    assert "NV901" in section.text
    section.find_element(By.PARTIAL_LINK_TEXT, "ops/<b>.py:1").click()
    shown(blocked, lambda: blocked.find_elements(By.CSS_SELECTOR, ".tie.target .more"))
    assert paths(blocked) == ["ops/<b>.py"]


def test_what_code_says_is_never_markup(blocked: Chrome) -> None:
    assert not blocked.find_elements(By.TAG_NAME, "img")
    view(blocked, "path=ops/<b>.py&at=1:1".replace("<", "%3C").replace(">", "%3E"))
    mark = blocked.find_element(By.CSS_SELECTOR, ".whole-code mark")
    assert mark.get_attribute("textContent") == HOSTILE
    assert complaints(blocked) == []


def test_after_a_port_it_is_told_what_was_rewritten(blocked: Chrome) -> None:
    view(blocked, "state=settled")
    assert paths(blocked) == ["ops/run.py"]
    assert blocked.find_element(By.CSS_SELECTOR, ".stand").text == "rewritten"


def test_files_that_could_not_be_read_are_listed(blocked: Chrome) -> None:
    assert (
        "Missing parentheses"
        in blocked.find_element(By.ID, "unread").find_element(By.XPATH, "..").text
    )


def test_ten_thousand_findings_are_filtered_at_once(large: Chrome) -> None:
    assert count(large) == "10\u202f000 findings in 400 files"
    assert len(paths(large)) == 100
    took_ms = large.execute_script(  # type: ignore[no-untyped-call]
        "const t = performance.now(); location.hash = 'q=x77'; show(); return performance.now() - t"
    )
    assert took_ms < 2000
    assert count(large).startswith("111 findings of 10")
    assert large.execute_script("return document.querySelectorAll('*').length") < 12_000  # type: ignore[no-untyped-call]


def test_more_files_come_when_asked_for(large: Chrome) -> None:
    view(large, "order=path")
    large.find_element(By.ID, "more").click()
    assert len(paths(large)) == 200


@pytest.mark.parametrize("width", [1280, 768, 400])
def test_the_page_fits_its_window(page: Chrome, blocked: Chrome, width: int) -> None:
    view(page, "path=train.py")
    for tie in page.find_elements(By.CSS_SELECTOR, ".tie")[:2]:
        open_(tie)
    assert width_at(page, width) <= width
    assert width_at(blocked, width) <= width


def test_printed_it_has_no_controls_and_light_colours(page: Chrome) -> None:
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not page.find_element(By.ID, "filters").is_displayed()
    colour = page.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert colour == "rgba(255, 255, 255, 1)"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_every_control_has_a_name_and_headings_skip_no_level(page: Chrome) -> None:
    for control in page.find_elements(By.CSS_SELECTOR, "input, select, button"):
        assert control.accessible_name or not control.is_displayed()
    levels = [int(h.tag_name[1]) for h in page.find_elements(By.CSS_SELECTOR, "h1, h2, h3, h4")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_a_page_that_cannot_be_written_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing/page\.html"):
        write(assessment(SAFE), tmp_path / "missing/page.html")


def test_without_scripts_there_is_a_table_of_files(tmp_path: Path) -> None:
    write(assessment(SAFE, KERNEL), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    (table,) = re.findall(r"<noscript>(.*?)</noscript>", page, re.DOTALL)
    assert "ops/run.py" in table
    assert "ops/&lt;b&gt;.py" in table


def test_no_finding_at_all_is_a_page_too(tmp_path: Path) -> None:
    write(assessment(), tmp_path / "page.html")
    assert "No tie to NVIDIA was found." in (tmp_path / "page.html").read_text("utf-8")
