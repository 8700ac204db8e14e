"""What a port writes, where, and how it is taken back."""

import stat
import subprocess
import sys

import pytest
from trees import CUDA, PLAIN, committed, contents, cordee, git, tree

from cordee.core.errors import UsageError
from cordee.port import engine
from cordee.port.finding import Edit, Fix, NewFile, Safety
from cordee.port.formats import of_port
from cordee.port.porting import Ported, Request, Where, port, undo
from cordee.port.python.file import Span
from cordee.port.repository import PATCH
from cordee.port.rewriting import BROKEN, NEEDS, OVERLAPS, UNSAFE
from cordee.port.rule import Family, Match
from cordee.port.survey import Options

ODD = {
    "crlf.py": CUDA.replace("\n", "\r\n"),
    "cr.py": CUDA.replace("\n", "\r"),
    "latin.py": b"# -*- coding: latin-1 -*-\n# \xe9\xff\n" + CUDA.encode(),
    "bom.py": b"\xef\xbb\xbf" + CUDA.encode(),
    "unended.py": CUDA.rstrip("\n"),
    "mixed.py": CUDA.replace("\n", "\r\n", 2) + "x = '''\f\x0b\x1c'''\n",
    "sp ace/ü.py": CUDA + "# ünïcödé 🎉\n",
    'quo"te\\\t.py': CUDA,
    "-dash.py": CUDA,
    "one.py": "import torch; torch.cuda.synchronize()",
}


def ported(path, **request) -> Ported:
    return port(Request(path=path, **request), of_port)


def test_a_copy_beside_it_is_ported_and_the_rest_is_the_same(tmp_path) -> None:
    files = {
        "a.py": CUDA,
        "b.py": PLAIN,
        ".gitignore": "data/\n",
        "data/x.bin": b"\0\1",
        "run.sh": "ls\n",
    }
    root = committed(tree(tmp_path / "r", files))
    (root / "run.sh").chmod(0o755)
    (root / "a.py").chmod(0o640)
    (root / "link").symlink_to("data")
    (root / "dangling").symlink_to("nowhere")
    before = contents(root)
    done = ported(root)
    out = tmp_path / "r-ascend"
    assert done.folder == out
    after = contents(out)
    assert {name for name in before if before[name] != after[name]} == {"a.py"}
    assert before.keys() == after.keys()
    assert contents(root) == before
    assert not (out / ".git").exists()
    assert stat.S_IMODE((out / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((out / "a.py").stat().st_mode) == 0o640
    assert (out / done.report).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r-ascend"]


@pytest.mark.parametrize("where", [Where.OUT, Where.IN_PLACE])
def test_bytes_outside_of_edits_survive_and_patch_and_undo_are_exact(tmp_path, where) -> None:
    root = tree(tmp_path / "r", ODD)
    before = contents(root)
    done = ported(root, where=where)
    assert done.folder is not None
    after = contents(done.folder)
    assert all(before[name] != after[name] for name in ODD)
    again = tree(tmp_path / "again", {str(name): data for name, data in before.items()})
    git(again, "init", "--quiet")
    git(again, "apply", "--whitespace=nowarn", str(done.folder / PATCH))
    assert contents(again) == after
    git(again, "apply", "--whitespace=nowarn", "--reverse", str(done.folder / PATCH))
    assert contents(again) == before
    assert sorted(undo(done.folder)) == sorted(ODD)
    assert contents(done.folder) == before
    assert not list(done.folder.glob("cordee-port.*"))


def test_a_second_port_changes_nothing(tmp_path) -> None:
    first = ported(tree(tmp_path / "r", ODD))
    assert first.folder is not None
    second = ported(first.folder, out=tmp_path / "second")
    assert (second.changed, second.patch) == ([], b"")
    assert contents(first.folder) == contents(tmp_path / "second")
    assert not (tmp_path / "second" / PATCH).exists()


def test_a_diff_is_printed_and_nothing_is_written(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"a.py": CUDA}))
    before = contents(tmp_path)
    done = cordee("port", root, "--diff")
    assert done.returncode == 0
    assert contents(tmp_path) == before
    command = ["git", "-C", str(root), "apply"]
    subprocess.run(command, input=done.stdout, check=True)
    assert b"torch.accelerator.synchronize()" in (root / "a.py").read_bytes()


def test_in_place_wants_a_clean_tree(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"a.py": CUDA}))
    (root / "b.py").write_text(PLAIN)
    with pytest.raises(UsageError, match="not committed"):
        ported(root, where=Where.IN_PLACE)
    assert (root / "a.py").read_text() == CUDA
    assert ported(root, where=Where.IN_PLACE, force=True).changed
    assert (root / "a.py").read_text() != CUDA


def test_in_place_does_not_lose_the_way_back_of_an_earlier_port(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    ported(root, where=Where.IN_PLACE)
    patch = (root / PATCH).read_bytes()
    assert not ported(root, where=Where.IN_PLACE).changed
    (root / "b.py").write_text(CUDA)
    with pytest.raises(UsageError, match="from a port before"):
        ported(root, where=Where.IN_PLACE)
    assert ((root / "b.py").read_text(), (root / PATCH).read_bytes()) == (CUDA, patch)


def test_one_file_is_ported_in_place(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA, "b.py": CUDA})
    with pytest.raises(UsageError, match="is one file"):
        ported(root / "a.py")
    ported(root / "a.py", where=Where.IN_PLACE)
    assert (root / "a.py").read_text() != CUDA
    assert (root / "b.py").read_text() == CUDA


def test_an_undo_refuses_where_files_have_changed_since(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA, "b.py": CUDA})
    ported(root, where=Where.IN_PLACE)
    after = contents(root)
    (root / "b.py").write_bytes(bytes(after["b.py"]) + b"# mine\n")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"b\.py: has changed since"):
        undo(root)
    assert contents(root)["a.py"] == after["a.py"]
    (root / "b.py").unlink()
    with pytest.raises(UsageError, match=r"b\.py"):
        undo(root)


@pytest.mark.parametrize("text", [b"", b"diff --git a/x b/x\n", b"A port by cordee. x\n\n"])
def test_an_undo_refuses_what_is_no_patch_of_ours(tmp_path, text) -> None:
    root = tree(tmp_path / "r", {PATCH: text})
    with pytest.raises(UsageError, match="not a patch of cordee"):
        undo(root)
    (root / PATCH).unlink()
    with pytest.raises(UsageError, match="nothing to undo"):
        undo(root)


@pytest.mark.parametrize(
    ("out", "complaint"),
    [
        ("r/inside", "inside of what is ported"),
        ("r", "inside of what is ported"),
        (".", "holds what is ported"),
        ("full", "is not empty"),
        ("full/file", "is no folder"),
        ("none/out", "no such folder"),
        ("link", "is no folder"),
    ],
)
def test_where_a_copy_cannot_go_is_a_wrong_request(tmp_path, out, complaint) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    tree(tmp_path / "full", {"file": ""})
    (tmp_path / "link").symlink_to("elsewhere")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=complaint):
        ported(root, out=tmp_path / out)
    assert contents(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    ported(tree(tmp_path / "r", {"a.py": CUDA}), out=tmp_path / "out")
    assert (tmp_path / "out" / "a.py").exists()


def test_nothing_is_half_written_where_writing_fails(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA, "z/b.py": CUDA})
    before = contents(root)
    command = f"ulimit -f 0; exec {sys.executable} -m cordee port --in-place --no-cache {root}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.returncode != 0
    assert contents(root) == before


def test_a_read_only_place_is_said_and_nothing_is_written(tmp_path) -> None:
    done = cordee("port", tree(tmp_path / "r", {"a.py": CUDA}), "-o", "/proc/out")
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: /proc: ")
    assert b"nothing was written" in done.stderr


def invented(monkeypatch, *fixes: Fix) -> None:
    """Have one rule, which offers these fixes for the first statement of a file that says cuda."""
    family = Family("invented", "Invented", ("cuda",))

    @family.rule(998, "a file says cuda", object)
    def rule(node: object, file: object) -> object:
        if type(node).__name__ == "Module":
            for number, fix in enumerate(fixes):
                yield Match(Span(number, number + 1), f"fix {number}", fix)

    rules = {rule.code: rule for rule in family.rules}
    monkeypatch.setattr(engine, "FAMILIES", (family,))
    monkeypatch.setattr(engine, "RULES", rules)


def whys(done: Ported) -> list[str]:
    return [left.why for left in done.left]


NO_CACHE = Options(cache=False)


def test_of_fixes_that_overlap_the_first_is_made(tmp_path, monkeypatch) -> None:
    invented(monkeypatch, Fix((Edit(0, 4, "mine"),)), Fix((Edit(2, 6, "yours"),)))
    root = tree(tmp_path / "r", {"a.py": "cuda_x = 1\n"})
    done = ported(root, where=Where.IN_PLACE, options=NO_CACHE)
    assert (root / "a.py").read_text() == "mine_x = 1\n"
    assert whys(done) == [OVERLAPS]
    assert done.rewrote(done.made[0])
    assert done.why_left(done.left[0].finding) == OVERLAPS


def test_a_fix_that_breaks_a_file_is_not_made(tmp_path, monkeypatch) -> None:
    invented(monkeypatch, Fix((Edit(0, 4, "("),)))
    root = tree(tmp_path / "r", {"a.py": "cuda_x = 1\n"})
    done = ported(root, where=Where.IN_PLACE, options=NO_CACHE)
    assert (root / "a.py").read_text() == "cuda_x = 1\n"
    assert whys(done) == [BROKEN]


def test_unsafe_fixes_are_made_where_they_are_asked_for(tmp_path, monkeypatch) -> None:
    invented(monkeypatch, Fix((Edit(0, 4, "npu"),), Safety.UNSAFE))
    root = tree(tmp_path / "r", {"a.py": "cuda_x = 1\n"})
    assert whys(ported(root, where=Where.IN_PLACE, options=NO_CACHE)) == [UNSAFE]
    assert (root / "a.py").read_text() == "cuda_x = 1\n"
    ported(root, where=Where.IN_PLACE, unsafe=True, options=NO_CACHE)
    assert (root / "a.py").read_text() == "npu_x = 1\n"


def test_a_file_that_fixes_need_is_written_once_and_taken_back(tmp_path, monkeypatch) -> None:
    invented(monkeypatch, Fix((Edit(0, 4, "npu"),), files=(NewFile("pkg/stub.py", "x = 1\n"),)))
    root = tree(tmp_path / "r", {"a.py": "cuda_x = 1\n", "b.py": "cuda_x = 1\n"})
    before = contents(root)
    done = ported(root, where=Where.IN_PLACE, options=NO_CACHE)
    assert (root / "pkg" / "stub.py").read_text() == "x = 1\n"
    assert done.new == ("pkg/stub.py",)
    copied = ported(tree(tmp_path / "s", {"a.py": "cuda_x = 1\n"}), options=NO_CACHE)
    assert (copied.folder / "pkg" / "stub.py").read_text() == "x = 1\n"  # type: ignore[operator]
    undo(root)
    assert contents(root) == before


def test_a_file_of_that_path_with_another_text_is_not_overwritten(tmp_path, monkeypatch) -> None:
    invented(monkeypatch, Fix((Edit(0, 4, "npu"),), files=(NewFile("stub.py", "x = 1\n"),)))
    root = tree(tmp_path / "r", {"a.py": "cuda_x = 1\n", "stub.py": "mine = 1\n"})
    assert whys(ported(root, where=Where.IN_PLACE, options=NO_CACHE)) == [NEEDS]
    assert (root / "stub.py").read_text() == "mine = 1\n"
    (root / "stub.py").write_text("x = 1\n")
    assert ported(root, where=Where.IN_PLACE, options=NO_CACHE).new == ()


def test_the_command_says_what_it_did(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA, "b.py": "print 'cuda'\n"})
    done = cordee("port", root)
    out = tmp_path / "r-ascend"
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    for said in ("2 ties to NVIDIA rewritten", "1 is left: 1 of hours", f"the port: {out}"):
        assert said in text, said
    for said in ("problem: b.py: ", "b.py:1:1: NV001", f"its patch: {out / PATCH}", "--undo"):
        assert said in text, said
    assert cordee("port", "--undo", out).stdout == b"undone: a.py\n"
    assert contents(out) == contents(root)


@pytest.mark.parametrize(
    "wrong", [["--in-place", "--diff"], ["-o", "x", "--diff"], ["--diff", "--prove", "true"]]
)
def test_one_place_at_a_time(tmp_path, wrong) -> None:
    done = cordee("port", tree(tmp_path / "r", {"a.py": CUDA}), *wrong, cwd=tmp_path)
    assert (done.returncode, done.stderr.startswith(b"error: ")) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
