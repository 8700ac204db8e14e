"""Files of every kind, cut off and bent: they are read, or refused in words, and never break."""

import random

import pytest
from test_cases import CASES

from cordee.core.errors import SourceError
from cordee.port.documents import document
from cordee.port.engine import findings
from cordee.port.finding import agreeing
from cordee.port.setting import Setting, Style

ODD = [
    "'",
    '"',
    "\\",
    "$(",
    "${",
    "`",
    "<<E",
    "{{",
    "}",
    "[",
    "\r\n",
    "\t",
    "#",
    "é",
    "\x00",
    ": ",
    "- ",
]
OTHERS = [case for case in CASES if not case.name.endswith((".py", ".cpp", ".cu"))]


def _judged(name: str, text: str) -> None:
    for style in Style:
        try:
            opened = document(name, text.encode(), Setting(style=style))
        except SourceError:
            continue
        assert opened is not None
        found = findings(opened)
        for finding in found:
            assert 0 <= finding.start <= finding.end <= len(opened.source.text)
        opened.source.fixed(agreeing(f.fix for f in found if f.fix)[0])


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.id)
def test_what_is_cut_off_is_read(case) -> None:
    for end in range(0, len(case.source), 7):
        _judged(case.name, case.source[:end])


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.id)
def test_odd_signs_are_read(case) -> None:
    chance = random.Random(case.id)
    for _ in range(12):
        at = chance.randrange(len(case.source))
        _judged(case.name, case.source[:at] + chance.choice(ODD) + case.source[at:])


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.id)
def test_windows_line_ends_stay(case) -> None:
    text = case.source.replace("\n", "\r\n")
    opened = document(case.name, text.encode(), Setting())
    assert opened is not None
    fixed = opened.source.fixed(agreeing(f.fix for f in findings(opened) if f.fix)[0]).decode()
    assert fixed.count("\n") == fixed.count("\r\n")


def test_a_broken_notebook_is_refused_with_its_place() -> None:
    with pytest.raises(SourceError, match="line 2, column 2"):
        document("a.ipynb", b'{"cells":\n ]}', Setting())


def test_a_counterpart_keeps_the_marker_as_it_is_quoted() -> None:
    text = b"[project]\ndependencies = [\"triton>=3; sys_platform == 'linux'\"]\n"
    opened = document("pyproject.toml", text, Setting(style=Style.NATIVE))
    assert opened is not None
    fixed = opened.source.fixed(f.fix for f in findings(opened) if f.fix)
    assert fixed.splitlines()[1] == b"dependencies = [\"triton-ascend; sys_platform == 'linux'\"]"


def test_requirements_for_ascend_are_proposed_beside_those_for_nvidia() -> None:
    text = b"--extra-index-url https://download.pytorch.org/whl/cu118\ntorch==2.6.0\nnumpy\nflash-attn\n"
    opened = document("requirements.txt", text, Setting())
    assert opened is not None
    files = [file for f in findings(opened) if f.fix for file in f.fix.files]
    assert [file.path for file in files] == ["requirements-ascend.txt"]
    kept = [line for line in files[0].text.splitlines() if not line.startswith("#")]
    assert kept == [
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "torch==2.6.0",
        "torch-npu==2.6.0.post5",
        "numpy",
        "flash-attn-npu  # for flash-attn",
    ]
