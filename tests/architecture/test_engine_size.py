"""The engine stays as small as its page says."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def numbers(text: str) -> tuple[int, int]:
    """Lines of Python and of C that a text tells."""
    found = re.search(r"([\d,]+) lines of Python(?:,| and) ([\d,]+) of C", text)
    assert found is not None
    python, native = (int(number.replace(",", "")) for number in found.groups())
    return python, native


def test_the_engine_has_no_more_lines_than_its_page_says() -> None:
    tool = [sys.executable, str(ROOT / "tools/lines.py"), str(ROOT / "src/cordee/serve/engine")]
    counted = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    promised = numbers((ROOT / "docs/serve.md").read_text("utf-8"))
    assert all(now <= most for now, most in zip(numbers(counted), promised, strict=True))
