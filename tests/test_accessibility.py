"""Can everybody use the pages that commands write, in light and in dark? Judged by axe in a real browser."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.browser import hindrances, opened, width_at
from tests.journeys import JOURNEY

from cordee.journey.report import write

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.browser


def made(kind: str, folder: Path) -> Path:
    """A page of each kind that needs no service to look at."""
    page = folder / "page.html"
    gpt = str(ROOT / "examples" / "nvidia_gpt")
    match kind:
        case "assess":
            command = ["assess", gpt, "--format", "html", "--output", str(page)]
        case "run":
            small = ["--steps", "2", "--layers", "1", "--width", "32", "--heads", "2"]
            program = [sys.executable, f"{gpt}/train.py", *small]
            command = ["run", "--from-cuda", "--report", str(page), "--", *program]
        case "plan train" | "plan serve":
            kinds = ["--chip", "A100", "--chip", "910B3"]
            kinds += [
                "--chips",
                "8" if kind == "plan train" else "2",
            ]  # the page is the same with 8
            command = [*kind.split(), "Llama-2-7B", *kinds, "--report", str(page)]
        case _:
            return write(JOURNEY, folder)
    done = subprocess.run(
        [sys.executable, "-m", "cordee", *command], capture_output=True, text=True
    )
    assert page.exists(), done.stderr
    return page


@pytest.mark.parametrize("kind", ["assess", "run", "plan train", "plan serve", "demo"])
def test_a_page_can_be_used_by_everybody(kind: str, tmp_path: Path) -> None:
    with opened(made(kind, tmp_path)) as browser:
        assert not hindrances(browser)
        assert width_at(browser, 390) <= 390
