"""The page that `cordee plan train --report` writes, as a user reads it."""

import re
from pathlib import Path

import pytest
from tests.plan.commands import Command
from tests.plan.pages import needs_no_network, priced, text_of, written

ASK = Command("train")
SMALL = ("Llama-2-7B", "--chip", "A100", "--chip", "910B3", "--chips", "8", "--tokens", "20B")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(ASK, *SMALL, where=tmp_path_factory)


def test_the_page_says_what_the_terminal_says(page: Path) -> None:
    shown = text_of(page)
    terminal = ASK.run(*SMALL).output
    for words in ("USD to rent", "chips as fast as 8 A100-80-SXM", "export rules"):
        assert words in shown
        assert words in terminal
    days = re.findall(r"\d[\d.,]* \([\d.,]+ to [\d.,]+\)", terminal)
    assert len(days) == 2
    assert all(one in shown for one in days)


def test_the_page_shows_what_a_change_would_do(page: Path) -> None:
    shown = text_of(page)
    found = re.search(r"cube units twice as fast −([\d.]+)%", shown)
    assert found is not None
    assert 10 < float(found[1]) < 60
    assert "tensor cores twice as fast −" in shown
    assert "half the batch" in shown


def test_the_parts_of_memory_add_up_to_the_chip(page: Path) -> None:
    bar = re.search(r'aria-label="910B3: (weights [^"]*left [^"]*)"', page.read_text("utf-8"))
    assert bar is not None
    assert sum(float(one) for one in re.findall(r"([\d.]+) GiB", bar[1])) == pytest.approx(64, 0.02)


def test_the_page_needs_no_network(page: Path) -> None:
    assert needs_no_network(page)


def test_with_prices_cost_stands_against_time(tmp_path: Path) -> None:
    shown = priced(ASK, *SMALL, where=tmp_path)
    assert "Cost against time" in shown
    assert "0.9 to 1.3 USD an hour, 2026-05: offer 1234" in shown


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "none" / "plan.html"
    assert "none' does not exist" in ASK.refused(*SMALL, "--report", str(target))


def test_the_page_says_who_runs_a_schedule_that_was_asked_for(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    asks = ("Llama-2-7B", "--chip", "A100", "--chips", "16", "--schedule", "zb-v", "--batch", "128")
    shown = text_of(written(ASK, *asks, where=tmp_path_factory))
    assert "zb-v DP" in shown
    assert "megatron-lm does not run zb-v; it is in: sail-sg" in shown
