"""What is shown of code: the tie marked, and before and after its fix."""

from dataclasses import replace

import pytest
from tests.port.report.made import finding

from cordee.port.finding import Edit, Finding, Fix
from cordee.port.report.excerpt import comparison, excerpt
from cordee.port.report.sources import link


def compared(of: Finding) -> list[str]:
    return [line.sign + line.text for line in comparison(of)]


def test_the_tie_is_cut_out_of_its_lines_without_their_margin() -> None:
    shown = excerpt(finding("    y = f(x.cuda(),\n          1)", tie="x.cuda(),\n          1"))
    assert (shown.before, shown.tie, shown.after) == ("y = f(", "x.cuda(),\n      1", ")")


def test_a_line_without_end_is_cut_short() -> None:
    shown = excerpt(finding("a" * 5000 + "x.cuda()" + "b" * 5000, tie="x.cuda()"))
    assert shown.tie == "x.cuda()"
    assert len(shown.before) + len(shown.after) < 400


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_fix_is_shown_as_lines_before_and_after(line_end: str) -> None:
    of = finding("  y = f(\n    x.cuda())", tie="f(\n    x.cuda()", line_end=line_end)
    at = of.end - len("cuda()")
    fixed = replace(of, fix=Fix((Edit(at, of.end, "to(device)"),)))
    assert compared(fixed) == [" y = f(", "-  x.cuda())", "+  x.to(device))"]


def test_what_a_fix_does_elsewhere_is_told() -> None:
    of = finding("x.cuda()", before="import torch\n", new="x.npu()")
    assert of.fix is not None
    both = replace(of, fix=Fix((Edit(0, 0, "import torch_npu\n"), *of.fix.edits)))
    assert compared(both) == [
        "-x.cuda()",
        "+x.npu()",
        "@elsewhere in the file, above: adds",
        "+import torch_npu",
    ]


def test_a_line_that_is_taken_away_is_shown_so() -> None:
    of = finding("import apex")
    assert compared(replace(of, fix=Fix((Edit(of.start, of.end + 1, ""),)))) == ["-import apex"]


def test_without_a_fix_there_is_nothing_to_compare() -> None:
    assert compared(finding()) == []


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("docs.pytorch.org/docs/stable/accelerator.html", "https://docs.pytorch.org/docs/stable/accelerator.html"),
        ("https://example.org/a b", "https://example.org/a"),
        ("github.com/Ascend/pytorch torch_npu/npu/__init__.py", "https://github.com/Ascend/pytorch/blob/HEAD/torch_npu/npu/__init__.py"),
        ("github.com/Ascend/MindSpeed README.md", "https://github.com/Ascend/MindSpeed/blob/HEAD/README.md"),
        ("github.com/a/b@1f2e: docs/c.md", "https://github.com/a/b/blob/1f2e/docs/c.md"),
        ("github.com/a/b@1f2e:docs/c.md", "https://github.com/a/b/blob/1f2e/docs/c.md"),
        ("github.com/a/b d/e, f/g.py; https://example.org/h", "https://github.com/a/b/blob/HEAD/d/e"),
        ("https://example.org/h; github.com/a/b d/e.md", "https://example.org/h"),
        ("https://github.com/a/b/issues/1", "https://github.com/a/b/issues/1"),
        ("torch-npu 2.13.0 wheel, imported beside torch 2.13.0", ""),
        ("javascript:alert(1)", ""),
    ],
)  # fmt: skip
def test_a_source_that_names_a_page_is_a_link(source: str, address: str) -> None:
    assert link(source).address == address
