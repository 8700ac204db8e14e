"""Writes the README's table of what was measured, from the results in benchmarks/; a test holds it current."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
BEGINS = "<!-- measured: written by tools/measured.py (make docs) -->"
ENDS = "<!-- /measured -->"
READMES = {
    "README.md": ("", "part", "question", "measured"),
    "README.zh-CN.md": ("_zh", "部分", "问题", "测得"),
}
"""With the ending of the keys that hold their language, and the heads of the table."""


def table(language: str, *titles: str) -> str:
    """All claims, a row each."""
    rows = [f"| {' | '.join(titles)} |", "|---|---|---|", *_rows(language)]
    return "\n".join(rows)


def written(name: str) -> str:
    """A README with the table as it is to be."""
    text = (ROOT / name).read_text("utf-8")
    before, _, rest = text.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}\n{table(*READMES[name])}\n{ENDS}{after}"


def _rows(language: str) -> Iterator[str]:
    for claim in tomllib.loads((BENCHMARKS / "claims.toml").read_text("utf-8"))["claim"]:
        found = [_shown(value, language) for value in _values(claim)]
        file = claim["file"]
        says = claim[f"says{language}"].format(*found)
        asks = claim[f"asks{language}"]
        yield f"| {claim['part']} | {asks} | {says} ([{file}](benchmarks/{file})) |"


def _values(claim: dict[str, Any]) -> Iterator[object]:
    file = BENCHMARKS / claim["file"]
    text = file.read_text("utf-8")
    if "count" in claim:
        yield len(re.findall(claim["count"], text, re.MULTILINE))
        return
    for wanted in claim["values"]:
        if file.suffix == ".md":
            found = re.search(wanted, text, re.MULTILINE)
            assert found is not None, f"{file}: nothing is like {wanted}"
            yield found[1]
        else:
            yield _at(json.loads(text) if file.suffix == ".json" else tomllib.loads(text), wanted)


def _at(value: Any, path: str) -> object:
    """What stands at a path of keys; of a list of tables the one with that name, or with all of `key=value&key=value`.

    A key may hold a dot: 0.99.
    """
    while path:
        if isinstance(value, list):
            key = path.partition(".")[0]
            value = next(row for row in value if _is_meant(row, key))
        else:
            key = path if path in value else path.partition(".")[0]
            value = value[key]
        path = path[len(key) + 1 :]
    return value


def _is_meant(row: dict[str, Any], key: str) -> bool:
    if "=" not in key:
        return bool(row["name"] == key)
    return all(
        str(row[name]) == value for name, value in (pair.split("=") for pair in key.split("&"))
    )


def _shown(value: object, language: str) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace(" to ", " 至 ") if language == "_zh" else text


def main() -> None:
    for name in READMES:
        (ROOT / name).write_text(written(name), "utf-8")


if __name__ == "__main__":
    main()
