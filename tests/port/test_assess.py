"""What an assessment takes into account: rules, comments, a baseline, a change, a configuration."""

import ast
import json
from collections.abc import Iterator

import pytest
from trees import CUDA, PLAIN, committed, cordee, git, tree

from cordee.core.errors import UsageError
from cordee.port import baseline, engine
from cordee.port.cache import Cache
from cordee.port.documents import document
from cordee.port.judgement import judgement
from cordee.port.project import METHODS
from cordee.port.rule import Family, Match
from cordee.port.setting import Setting, Style
from cordee.port.survey import Options, assess


def places(root, **options) -> list[tuple[str, int, str]]:
    found = assess(root, Options(**options)).findings
    return [(finding.path, finding.line, finding.rule) for finding in found]


def test_every_file_is_judged_and_counted(tmp_path) -> None:
    files = {"a.py": CUDA, "b.py": PLAIN, "notes": "cuda", "picture.png": b"\0\1cuda"}
    found = assess(tree(tmp_path / "r", files))
    assert [(file.path, file.kind, file.lines) for file in found.files][:1] == [
        ("a.py", "python", 5)
    ]
    assert len(found.files) + found.others == 4
    assert (found.root, found.revision, found.style) == ("r", "", "portable")
    assert {(f.path, f.line, f.rule) for f in found.findings} >= {("a.py", 5, "NV101")}


def test_the_revision_says_whether_files_differ_from_it(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"a.py": CUDA}))
    head = git(root, "rev-parse", "--short=12", "HEAD").strip()
    assert assess(root).revision == head
    (root / "a.py").write_text(PLAIN)
    assert assess(root).revision == f"{head}+"


@pytest.mark.parametrize(
    ("name", "line", "lines"),
    [
        ("a.py", "torch.cuda.synchronize()  # cordee: ignore", []),
        ("a.py", "torch.cuda.synchronize()  # cordee: ignore[NV101]", []),
        ("a.py", "torch.cuda.synchronize()  # noqa # cordee:ignore[NV203, NV1] why", []),
        ("a.py", "torch.cuda.synchronize()  # cordee: ignore[NV203]", [2]),
        ("a.py", "torch.cuda.synchronize(\n)  # cordee: ignore[NV101]", [2]),
        ("a.py", "torch.cuda.synchronize()  # cordee: ignored", [2]),
    ],
)
def test_comments_silence_the_line_they_are_on(tmp_path, name, line, lines) -> None:
    root = tree(tmp_path / "r", {name: f"import torch\n{line}\n"})
    assert [line for _, line, _ in places(root)] == lines
    assert assess(root).suppressed == (not lines)


@pytest.mark.parametrize(("codes", "left"), [("", 0), ("[NV1]", 1), ("[NV101, NV201]", 0)])
def test_a_comment_silences_a_file(tmp_path, codes, left) -> None:
    root = tree(tmp_path / "r", {"a.py": f"{CUDA}# cordee: ignore-file{codes}\n"})
    assert len(places(root)) == left


def test_rules_are_chosen_by_the_beginning_of_their_codes(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    assert {rule for _, _, rule in places(root)} == {"NV101", "NV201"}
    assert {rule for _, _, rule in places(root, select=("NV1",))} == {"NV101"}
    assert {rule for _, _, rule in places(root, ignore=("NV101",))} == {"NV201"}
    with pytest.raises(UsageError, match="NV77"):
        Options(select=("NV77",))


def test_a_baseline_silences_what_is_known_wherever_it_moves(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    known = tmp_path / "known.json"
    known.write_text(baseline.written(assess(root).findings))
    (root / "a.py").write_text("# moved\n\n" + CUDA.replace("torch.cuda", "  torch.cuda".strip()))
    assert places(root, baseline=known) == []
    (root / "a.py").write_text(CUDA + "torch.cuda.synchronize()\n")
    assert places(root, baseline=known) == [("a.py", 6, "NV101")]
    assert assess(root, Options(baseline=known)).suppressed == 2
    assert len(places(root, baseline=known, use_baseline=False)) == 3


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "findings": {}}', '{"version": 1, "findings": {"a": "b"}}'])  # fmt: skip
def test_what_is_no_baseline_is_a_wrong_request(tmp_path, text) -> None:
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(UsageError, match=r"known\.json"):
        baseline.read(tmp_path / "known.json")


def test_since_a_revision_only_added_lines_count(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"a.py": CUDA, "old name.py": CUDA, "ü.py": PLAIN}))
    (root / "a.py").write_text("import torch\ntorch.cuda.empty_cache()\n" + CUDA)
    git(root, "mv", "old name.py", "new name.py")
    (root / "ü.py").write_text(PLAIN + CUDA)
    (root / "untracked.py").write_text(CUDA)
    assert places(root, since="HEAD", select=("NV1",)) == [
        ("a.py", 2, "NV101"),
        ("untracked.py", 5, "NV101"),
        ("ü.py", 7, "NV101"),
    ]
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=second")
    assert len(places(root, since="HEAD~1", select=("NV1",))) == 3
    assert places(root, since="HEAD") == []


def test_a_further_use_of_a_name_in_cpp_is_of_the_change_that_adds_it(tmp_path) -> None:
    call = "cudaDeviceSynchronize();\n"
    root = committed(tree(tmp_path / "r", {"a.cpp": call}))
    (root / "a.cpp").write_text(f"{call}int n;\n{call}{call}")
    (found,) = assess(root, Options(since="HEAD")).findings
    assert (found.line, found.also) == (1, (3, 4))


def test_further_lines_are_told_in_every_report(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.cpp": "cudaDeviceSynchronize();\n" * 8})
    assert b"also on line 2, 3, 4, 5, 6 and 2 more" in cordee("assess", str(root)).stdout
    (found,) = json.loads(cordee("assess", str(root), "--json").stdout)["findings"]
    assert found["also"] == [2, 3, 4, 5, 6, 7, 8]
    sarif = json.loads(cordee("assess", str(root), "--format", "sarif").stdout)
    related = sarif["runs"][0]["results"][0]["relatedLocations"]
    assert [each["physicalLocation"]["region"]["startLine"] for each in related] == found["also"]


def test_since_works_in_a_folder_of_a_repository(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"pkg/a.py": PLAIN, "b.py": PLAIN}))
    tree(root, {"pkg/a.py": PLAIN + CUDA, "b.py": CUDA})
    assert places(root / "pkg", since="HEAD", select=("NV1",)) == [("a.py", 7, "NV101")]


def test_lines_that_look_like_a_diff_do_not_mislead(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"a.py": 's = """\n-- a/x\n"""\n', "x": ""}))
    (root / "a.py").write_text('s = """\n++ b/x\n@@ -1 +1 @@\n"""\n' + CUDA)
    assert places(root, since="HEAD", select=("NV1",)) == [("a.py", 9, "NV101")]


def test_since_needs_git_and_a_revision(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    with pytest.raises(UsageError, match="not in a git repository"):
        assess(root, Options(since="HEAD"))
    committed(root)
    for wrong in ("nonsense", "--output=x"):
        with pytest.raises(UsageError, match="no such revision"):
            assess(root, Options(since=wrong))


def test_a_repository_says_what_it_wants(tmp_path) -> None:
    wanted = 'exclude = ["vendored/"]\nstyle = "native"\ntorch = "2.9"\nignore = ["NV2"]\n'
    files = {"a.py": CUDA, "vendored/b.py": CUDA}
    for name, text in ((".cordee.toml", wanted), ("pyproject.toml", f"[tool.cordee]\n{wanted}")):
        found = assess(tree(tmp_path / name, files | {name: text}))
        assert [f.path for f in found.findings if f.kind == "python"] == ["a.py"]
        assert (found.style, found.torch) == ("native", "2.9")
        assert {f.rule for f in found.findings if f.kind == "python"} == {"NV101"}
    assert assess(tmp_path / name, Options(style=Style.PORTABLE)).style == "portable"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("excluded = []", "excluded: no such key"),
        ('exclude = "a"', "exclude must be a list"),
        ("exclude = [1]", "exclude must be a list"),
        ("torch = 2.9", "torch must be a text"),
        ('torch = "new"', "new: not a version"),
        ('style = "fast"', "style must be one of portable, native"),
        ('baseline = "none.json"', "none.json"),
        ("=", "Invalid"),
    ],
)
def test_a_configuration_that_cannot_be_is_a_wrong_request(tmp_path, text, complaint) -> None:
    root = tree(tmp_path / "r", {".cordee.toml": text})
    with pytest.raises(UsageError, match=complaint):
        assess(root)


def test_the_configuration_of_a_repository_holds_in_its_folders(tmp_path) -> None:
    root = tree(tmp_path / "r", {".cordee.toml": 'ignore = ["NV"]', "pkg/a.py": CUDA})
    assert places(root / "pkg")
    git(root, "init", "--quiet")
    assert places(root / "pkg") == []


def test_what_is_remembered_is_what_would_be_said(tmp_path, own_cache) -> None:
    kernel = "void f() { cudaMalloc(0, 0); }\n"
    other = CUDA.replace("sync", "no_such_")
    root = tree(
        tmp_path / "r",
        {"a.py": CUDA, "b.py": other, "c.py": PLAIN, "d.cu": kernel, "e.cpp": kernel},
    )
    first = assess(root)
    assert {f.kind for f in first.findings} == {"python", "cuda", "c++"}
    assert (own_cache / "cordee" / "assessed.sqlite").exists()
    assert assess(root) == first == assess(root, Options(cache=False))
    (root / "a.py").write_text(PLAIN)
    assert not [f for f in assess(root).findings if f.path == "a.py"]
    assert assess(root, Options(style=Style.NATIVE)) == assess(
        root, Options(style=Style.NATIVE, cache=False)
    )


def test_what_a_file_asks_about_its_neighbours_is_part_of_what_is_remembered(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": "def f(model):\n    model.cuda()\n", "b.py": PLAIN})
    assert [f.confidence for f in assess(root).findings] == ["likely"]
    (root / "b.py").write_text("class Own:\n    def cuda(self):\n        pass\n")
    assert [f.confidence for f in assess(root).findings] == ["unsure"]
    (root / "b.py").write_text(PLAIN)
    assert [f.confidence for f in assess(root).findings] == ["likely"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"SQLite format 3\0" + b"x" * 200])
def test_a_broken_cache_costs_nothing_but_time(tmp_path, own_cache, content) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    tree(own_cache, {"cordee/assessed.sqlite": content})
    assert len(places(root)) == 2
    assert len(places(root)) == 2


def test_a_cache_that_cannot_be_made_costs_nothing_but_time(tmp_path, own_cache) -> None:
    tree(own_cache, {"cordee": "a file"})
    assert len(places(tree(tmp_path / "r", {"a.py": CUDA}))) == 2
    Cache(None).keep([])


def test_several_processes_find_the_same(tmp_path) -> None:
    padding = "# filling\n" * 3000
    root = tree(tmp_path / "r", {f"{n}.py": CUDA + padding for n in range(20)})
    told: list[tuple[int, int]] = []
    many = assess(root, Options(jobs=3, cache=False), lambda done, of: told.append((done, of)))
    assert many == assess(root, Options(jobs=1, cache=False))
    assert told[0] == (0, 20)
    assert told[-1] == (20, 20)


def test_rules_ask_only_for_methods_that_are_looked_for() -> None:
    everything = "import torch\ndef f(m, t):\n    m.cuda()\n    return t.is_cuda and t.npu()\n"
    asked = judgement("a.py", everything.encode(), Setting()).asked
    assert "cuda" in asked
    assert set(asked) <= {*METHODS, "modules", "extensions"}


def test_a_rule_that_raises_is_a_problem_that_names_it(monkeypatch) -> None:
    broken = Family("broken", "Rules with a mistake in them", ("cuda",))

    @broken.rule(999, "an attribute", ast.Attribute)
    def fails(node: ast.Attribute, file: object) -> Iterator[Match]:
        raise ZeroDivisionError("in a rule")

    monkeypatch.setattr(engine, "FAMILIES", (*engine.FAMILIES, broken))
    found = judgement("a.py", CUDA.encode(), Setting()).file
    assert "a.py:5: a mistake in NV999, please report it: ZeroDivisionError" in found.problem
    assert {finding.rule for finding in found.findings} == {"NV101", "NV201"}
    opened = document("a.py", CUDA.encode(), Setting())
    assert opened is not None
    with pytest.raises(ZeroDivisionError):
        engine.findings(opened)


def test_the_command_ends_with_what_it_found(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    done = cordee("assess", root)
    assert done.returncode == 1
    assert b"a.py:5:1: NV101 `torch.cuda.synchronize` is" in done.stdout
    assert b"2 ties to NVIDIA in 1 file (5 lines read)" in done.stdout
    (root / "a.py").write_text(PLAIN)
    done = cordee("assess", cwd=root)
    assert (done.returncode, done.stderr) == (0, b"")
    assert cordee("assess", root / "nothing").returncode == 2


def test_the_command_writes_a_baseline_and_goes_by_it(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    assert cordee("assess", root, "--write-baseline").returncode == 0
    assert json.loads((root / ".cordee-baseline.json").read_text())["version"] == 1
    done = cordee("assess", root)
    assert (done.returncode, b"2 findings silenced" in done.stdout) == (0, True)
