"""A proof on the page: curves, differences in words, and files that fixes brought."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.port.report.made import Result, assessment, finding

from cordee.port.finding import NewFile
from cordee.port.prove.losses import LossComparison
from cordee.port.prove.proof import Fallback, Proof, Run, TensorComparison
from cordee.port.report import write
from cordee.port.report.curves import MOST_RINGS, curves
from cordee.port.report.evidence import difference_text

GOOD = Proof(
    command="python train.py <x>",
    chip=Run("chip", 0, 3.0, ""),
    cpu=Run("cpu", 0, 2.0, ""),
    losses=(LossComparison("loss", (2.0, 1.5, 1.0), (2.0, 1.5, 1.0)),),
    tensors=(TensorComparison("m.pt", 12, "w", 1e-6),),
    fallbacks=(Fallback("aten::_x", "host", 3, ("a.py:3",)),),
    operators=99,
    tolerance=1e-3,
)
SHIM = NewFile("pkg/shim.py", "x = '</script>'\n")
TIE = finding("x.cuda()", new="shim(x)")
assert TIE.fix is not None
WITH_FILE = replace(TIE, fix=replace(TIE.fix, files=(SHIM,)))


def page(folder: Path, result: Result | None) -> str:
    write(assessment(WITH_FILE), folder / "page.html", result)
    return (folder / "page.html").read_text("utf-8")


def test_the_page_begins_with_what_running_it_showed(tmp_path: Path) -> None:
    text = page(tmp_path, Result(made=[WITH_FILE], new=[SHIM], proof=GOOD))
    assert "Proven: the port runs on the virtual chip and gives what the CPU gives." in text
    assert "python train.py &lt;x&gt;" in text
    assert "has run on a virtual chip: try it on a real one" in text
    assert text.count('<svg class="curves"') == 1
    assert "aten::_x" in text
    assert "runs on the host" in text
    assert text.index("Proven:") < text.index('id="findings-title"')


def test_without_a_proof_there_is_no_such_section(tmp_path: Path) -> None:
    assert 'id="proof"' not in page(tmp_path, Result(made=[WITH_FILE]))


def test_new_files_are_shown_and_the_finding_leads_to_them(tmp_path: Path) -> None:
    for result in (None, Result(made=[WITH_FILE], new=[SHIM])):
        text = page(tmp_path, result)
        assert '<details class="new-file" id="new-pkg_2Fshim.py">' in text
        assert "x = &#39;&lt;/script&gt;&#39;" in text
        assert '"new-pkg_2Fshim.py"' in text
        assert "needed by 1 tie" in text


@pytest.mark.parametrize(
    "side", [(1.0,), (5.0,) * 7, (1.0, math.nan, 2.0), (0.0, 0.0), (1e-9, 2e-9), (-3.0, 1e6), ()]
)
def test_any_losses_can_be_drawn_inside_the_frame(side: tuple[float, ...]) -> None:
    drawn = str(curves(LossComparison("loss", side, (1.0, *side))))
    assert "nan" not in drawn
    for y in re.findall(r'cy="([-\d.]+)"', drawn):
        assert 0 <= float(y) <= 230


def test_rings_do_not_hide_a_long_line() -> None:
    values = tuple(float(n) for n in range(10_000))
    drawn = str(curves(LossComparison("loss", values, values)))
    assert drawn.count("<circle") <= MOST_RINGS
    assert len(drawn) < 120_000


def test_what_is_not_finite_at_all_is_not_drawn() -> None:
    assert curves(LossComparison("loss", (math.nan,), (math.inf,))) == ""


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "none"),
        (0.25, "25 %"),
        (1e-3, "0.1 %"),
        (1e-5, "1.0·10⁻³ %"),
        (math.inf, "beyond compare"),
    ],
)
def test_differences_are_shares_that_one_can_read(share: float, words: str) -> None:
    assert difference_text(share) == words
