"""Pages that `cordee plan` writes, as their reader reads them, and prices of a user's own."""

import re
from html import unescape
from pathlib import Path

import pytest
from tests.plan.commands import Command

PRICE = """
[[price]]
chip = "910B3"
kind = "rent"
low_usd = 0.9
high_usd = 1.3
date = "2026-05"
source = "offer 1234"
"""


def written(command: Command, *words: str, where: pytest.TempPathFactory) -> Path:
    """The page of an answer."""
    page = where.mktemp("page") / "plan.html"
    done = command.run(*words, "--report", str(page))
    assert done.exit_code == 0, done.output
    return page


def priced(command: Command, *words: str, where: Path) -> str:
    """What stands on one with prices of a user's own."""
    prices, page = where / "ours.toml", where / "plan.html"
    prices.write_text(PRICE, "utf-8")
    done = command.run(*words, "--chips-file", str(prices), "--report", str(page))
    assert done.exit_code == 0, done.output
    return text_of(page)


def text_of(page: Path) -> str:
    """What stands on it, without marks."""
    body = page.read_text("utf-8").partition("</style>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def needs_no_network(page: Path) -> bool:
    """Whether it opens without one."""
    return not re.search(r'(src|href)="', page.read_text("utf-8"))
