"""The page that `cordee plan serve --report` writes, as a user reads it."""

import re
from pathlib import Path

import pytest
from tests.plan.commands import Command
from tests.plan.pages import needs_no_network, priced, text_of, written

ASK = Command("serve")
ASCEND = ("Qwen3-8B", "--chip", "910B3", "--chips", "2")
SMALL = ("Qwen3-8B", "--chip", "H100", *ASCEND[1:])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(ASK, *SMALL, where=tmp_path_factory)


def test_the_page_says_what_the_terminal_says(page: Path) -> None:
    shown = text_of(page)
    terminal = ASK.run(*SMALL).output
    for words in ("USD per million tokens", "chips for as much as 2 H100-SXM", "export rules"):
        assert words in shown
        assert words in terminal
    times = re.findall(r"[\d.,]+; 9 of 10 below [\d.,]+", terminal)
    assert len(times) == 4
    assert all(one in shown for one in times)


def test_the_page_shows_what_a_change_would_do(page: Path) -> None:
    shown = text_of(page)
    faster = re.findall(
        r"memory bandwidth twice (−[\d.]+%|no change) ([\d.]+) ms in place of ([\d.]+)", shown
    )
    assert len(faster) == 2
    assert all(float(after) < 0.9 * float(before) for _, after, before in faster)
    for words in ("tensor cores twice as fast", "cube units twice as fast", "half the prompt kept"):
        assert words in shown


def test_what_is_faster_never_takes_more_chips(tmp_path_factory: pytest.TempPathFactory) -> None:
    words = ("DeepSeek-V3", "--chip", "910C", "--chips", "24", "--tpot", "40")
    target = written(ASK, *words, where=tmp_path_factory)
    found = re.findall(r'<td class="n">([^<]*%|no change|does not fit)</td>', target.read_text())
    assert len(found) == 7
    assert all(one.startswith("−") or one == "no change" for one in found)


def test_tighter_and_looser_limits_stand_in_both_plots(page: Path) -> None:
    plots = re.findall(r"<figure>.*?</figure>", page.read_text("utf-8"), re.DOTALL)
    assert len(plots) == 2
    for plot, words in zip(plots, ("between tokens (TPOT)", "first token (TTFT)"), strict=True):
        assert words in plot
        assert ">limit<" in plot
        assert re.search(r"<title>2 910B3: [\d.,]+ ms, [\d.,]+ chips per 1,000 tokens/s", plot)
    (ascend,) = re.findall(r'<polyline class="kind-1" points="([^"]*)"', plots[0])
    assert len(ascend.split()) >= 2


def test_the_parts_of_time_and_of_memory_add_up(page: Path) -> None:
    text = page.read_text("utf-8")
    (memory,) = re.findall(r'aria-label="910B3: (weights [^"]* GiB)"', text)
    assert sum(map(float, re.findall(r"([\d.]+) GiB", memory))) == pytest.approx(64, 0.02)
    (time,) = re.findall(r'aria-label="910B3: (weights [^"]* ms)"', text)
    between = re.search(r"<b>910B3</b><span>([\d.]+) ms between tokens", text)
    assert between is not None
    parts = map(float, re.findall(r"([\d.]+) ms", time))
    assert sum(parts) == pytest.approx(float(between[1]), 0.02)


def test_the_page_needs_no_network(page: Path) -> None:
    assert needs_no_network(page)


def test_with_prices_cost_stands_against_latency(tmp_path: Path) -> None:
    shown = priced(ASK, *ASCEND, where=tmp_path)
    assert "Cost against latency" in shown
    assert "0.9 to 1.3 USD an hour, 2026-05: offer 1234" in shown


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "none" / "service.html"
    assert "none' does not exist" in ASK.refused(*ASCEND, "--report", str(target))
