"""Every row of every table says where it comes from."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parents[2] / "src"
TABLES = sorted(SOURCES.rglob("*.toml"))


def rows_of(table: Path) -> Iterator[dict[str, Any]]:
    for entries in tomllib.loads(table.read_text()).values():
        assert isinstance(entries, list), "a table of facts is made of [[rows]]"
        yield from entries


@pytest.mark.parametrize("table", TABLES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_a_row_has_a_source(table: Path) -> None:
    found = list(rows_of(table))
    assert found
    for row in found:
        assert row["source"].strip(), row
