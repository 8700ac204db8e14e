"""What a file is called, how it begins, and what is not left in it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "tools", "examples", "benchmarks")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
NATIVE = sorted(path for ending in ("*.c", "*.cpp", "*.h") for path in (ROOT / "src").rglob(ending))
TEXT = [*PYTHON, *NATIVE, *(ROOT / "src").rglob("*.toml"), *ROOT.glob("*.md"), ROOT / "Makefile"]

BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base2"}
LEFT_OPEN = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_a_python_file_begins_by_saying_what_it_is(path: Path) -> None:
    first = path.read_text().partition("\n")[0]
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "no docstring"
    assert first.startswith(('"""', 'r"""', "#!"))
    assert docstring.splitlines()[0].endswith((".", ":", "?"))


@pytest.mark.parametrize("path", NATIVE, ids=name_of)
def test_a_c_file_begins_by_saying_what_it_is(path: Path) -> None:
    assert path.read_text().startswith(("/* ", "// "))


@pytest.mark.parametrize("path", [*PYTHON, *NATIVE], ids=name_of)
def test_a_name_says_what_is_inside(path: Path) -> None:
    words = {part.removesuffix(path.suffix) for part in path.relative_to(ROOT).parts}
    assert not words & BANNED
    assert not path.stem.startswith("new_")


@pytest.mark.parametrize("path", TEXT, ids=name_of)
def test_nothing_is_left_open(path: Path) -> None:
    assert not LEFT_OPEN.findall(path.read_text())
