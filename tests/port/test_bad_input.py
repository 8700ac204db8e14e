"""Whatever a repository holds: nothing is lost, nothing stops the rest, and all of it is said."""

import pytest
from trees import CUDA, PLAIN, contents, cordee, tree

from cordee.port.assessment import Judged
from cordee.port.formats import FORMATS, of_port, written
from cordee.port.judgement import judgement
from cordee.port.porting import Request, port
from cordee.port.setting import Setting
from cordee.port.survey import Options, assess

BAD = {
    "print_two.py": "import torch\nprint 'cuda'\n",
    "null.py": "import torch\nx = 'cuda\0'\n",
    "utf16.py": "x = 'cuda'\n".encode("utf-16"),
    "wrong.py": b"x = 'cuda \xe9'\n",
    "cookie.py": b"# coding: nonsense\nx = 'cuda'\n",
    "cut.py": b"# coding: utf-8\nx = 'cuda \xc3",
    "deep.py": "x = " + "(" * 5000 + "'cuda'" + ")" * 5000,
    "long.py": "x = 'cuda'" + " + 1" * 50_000,
    "nested.py": "".join(" " * n + "if 'cuda':\n" for n in range(150)) + " " * 150 + "pass\n",
    "surrogate.py": "x = 'cuda \\ud800'\n",
    "markers.py": "<<<<<<< ours\nx = 'cuda'\n=======\n>>>>>>> theirs\n",
    "tabs.py": "if 'cuda':\n\tx = 1\n        y = 2\n",
}


def one(name: str) -> Judged:
    content = BAD[name]
    data = content.encode() if isinstance(content, str) else content
    return judgement(name, data, Setting()).file


@pytest.mark.parametrize("name", BAD)
def test_no_file_stops_anything(name) -> None:
    file = one(name)
    assert "a mistake in" not in file.problem
    assert not file.problem or file.problem.startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["print_two.py", "null.py", "wrong.py", "cookie.py", "cut.py", "deep.py", "markers.py"])  # fmt: skip
def test_lines_of_a_file_that_cannot_be_parsed_are_searched(name) -> None:
    file = one(name)
    assert file.problem
    assert {finding.rule for finding in file.findings} == {"NV001"}
    for finding in file.findings:
        assert "cuda" in finding.code
        assert (finding.fix, finding.confidence) == (None, "unsure")


def test_comments_silence_these_too() -> None:
    data = b"print 'cuda'  # cordee: ignore[NV001]\n"
    file = judgement("a.py", data, Setting()).file
    assert (file.findings, file.suppressed) == ((), 1)


def test_a_bad_file_without_cuda_is_no_problem() -> None:
    assert judgement("a.py", b"print 'hello'\n", Setting()).file == Judged("a.py", "python", 1)


def test_a_tree_of_bad_files_is_assessed_reported_and_ported(tmp_path) -> None:
    root = tree(tmp_path / "r", BAD | {"good.py": CUDA})
    (root / "bad\udcff name.py").write_text(CUDA)
    assessment = assess(root)
    assert {"good.py", "bad\udcff name.py"} <= {finding.path for finding in assessment.findings}
    for name in FORMATS:
        if name != "html":
            assert written(assessment, name)
    before = contents(root)
    done = port(Request(path=root), of_port)
    assert done.folder is not None
    after = contents(done.folder)
    assert {name for name in after if before[name] != after[name]} >= {
        "good.py",
        "bad\udcff name.py",
    }
    for file in assessment.problems:
        assert before[file.path] == after[file.path]


def test_files_that_are_too_large_are_named(tmp_path) -> None:
    root = tree(tmp_path / "r", {"large.py": CUDA + "#" * 2000, "a.py": CUDA, "x.bin": b"0" * 3000})
    found = assess(root, Options(largest_bytes=1000))
    assert [file.problem for file in found.problems] == [
        "large.py: not read: 0.0 MB are more than 0.001 MB"
    ]
    assert {finding.path for finding in found.findings} == {"a.py"}
    assert found.others == 1


def test_fifty_megabytes_are_passed_over_in_a_moment(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": PLAIN})
    with (root / "large.py").open("wb") as file:
        file.truncate(50_000_000)
    done = cordee("assess", root)
    assert done.returncode == 0
    assert b"large.py: not read: 50.0 MB are more than 5 MB" in done.stdout


def test_a_folder_without_files_has_no_ties(tmp_path) -> None:
    root = tree(tmp_path / "r", {})
    done = cordee("assess", root)
    assert (done.returncode, done.stdout) == (
        0,
        b"No tie to NVIDIA in 0 files (0 lines read)\n",
    )
    assert port(Request(path=root), of_port).changed == []


def test_names_cannot_move_the_cursor(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a\n\x1b[2J.py": CUDA, "[bold]b.py": CUDA})
    done = cordee("assess", root)
    assert b"\x1b[2J" not in done.stdout
    assert b"[bold]b.py:5:1: NV101" in done.stdout
