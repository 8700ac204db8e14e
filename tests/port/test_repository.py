"""Which files of a repository are looked at."""

import os
import socket

import pytest
from trees import CUDA, committed, git, tree

from cordee.core.errors import UsageError
from cordee.port.repository import Repository
from cordee.port.survey import Options, assess


def paths(root, exclude=()) -> list[str]:
    return [entry.path for entry in Repository.at(root, exclude).entries()]


def test_files_come_sorted_with_slashes(tmp_path) -> None:
    root = tree(tmp_path / "r", {"b.py": "", "a/z.py": "", "a/c/d.txt": "", "A.py": ""})
    assert paths(root) == ["A.py", "a/c/d.txt", "a/z.py", "b.py"]


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        ("*.log\n!keep.log\n", ["a.py", "build/x.py", "keep.log", "sub/build/y.py"]),
        ("build/\n", ["a.py", "keep.log", "sub/other.log"]),
        ("/build\n", ["a.py", "keep.log", "sub/build/y.py", "sub/other.log"]),
        ("# a comment\n\nsub/**/y.py\n", ["a.py", "build/x.py", "keep.log", "sub/other.log"]),
        ("*\n!*.py\n!*/\n", ["a.py", "build/x.py", "sub/build/y.py"]),
    ],
)
def test_what_git_ignores_is_left_out(tmp_path, patterns, kept) -> None:
    names = ["a.py", "build/x.py", "keep.log", "sub/build/y.py", "sub/other.log"]
    root = tree(tmp_path / "r", dict.fromkeys(names, "") | {".gitignore": patterns})
    found = [path for path in paths(root) if path != ".gitignore"]
    assert found == kept
    git(root, "init", "--quiet")
    listed = git(root, "ls-files", "--others", "--exclude-standard").split()
    assert sorted(set(listed) - {".gitignore"}) == kept


def test_the_patterns_of_a_folder_go_before_those_above_it(tmp_path) -> None:
    files = {".gitignore": "*.py\n", "a.py": "", "sub/.gitignore": "!b.py\n", "sub/b.py": ""}
    assert paths(tree(tmp_path / "r", files)) == [".gitignore", "sub/.gitignore", "sub/b.py"]


def test_a_folder_inside_of_a_repository_is_under_its_patterns(tmp_path) -> None:
    files = {".gitignore": "gen.py\n", "pkg/gen.py": "", "pkg/a.py": "", "pkg/secret.py": ""}
    root = committed(tree(tmp_path / "r", files))
    (root / ".git" / "info" / "exclude").write_text("secret.py\n")
    assert paths(root / "pkg") == ["a.py"]


def test_a_linked_work_tree_has_the_patterns_of_its_repository(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"a.py": ""}))
    (root / ".git" / "info" / "exclude").write_text("secret.py\n")
    git(root, "worktree", "add", "--quiet", str(tmp_path / "w"))
    assert paths(tree(tmp_path / "w", {"secret.py": ""})) == ["a.py"]


def test_an_ignored_folder_that_is_named_is_looked_at(tmp_path) -> None:
    root = tree(tmp_path / "r", {".gitignore": "out/\n", "out/inside/a.py": ""})
    git(root, "init", "--quiet")
    assert paths(root / "out" / "inside") == ["a.py"]


def test_a_file_that_git_keeps_in_spite_of_its_patterns_is_judged(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {".gitignore": "*.py\n", "a.py": CUDA}))
    (root / "b.py").write_text(CUDA)
    assert {finding.path for finding in assess(root).findings} == {"a.py"}


def test_environments_caches_and_history_are_no_work(tmp_path) -> None:
    files = {
        "node_modules/x.py": "", "env/pyvenv.cfg": "", "env/lib/x.py": "", ".hg/x.py": "",
        "conda/conda-meta/history": "", "conda/x.py": "", "__pycache__/x.py": "", "a.py": "",
    }  # fmt: skip
    assert paths(tree(tmp_path / "r", files)) == ["a.py"]


def test_links_loops_and_what_is_no_file_are_passed_over(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a/b.py": ""})
    (root / "a" / "loop").symlink_to(root)
    (root / "again.py").symlink_to("a/b.py")
    (root / "self").symlink_to("self")
    (root / "dangling.py").symlink_to("nowhere")
    os.mkfifo(root / "pipe.py")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "s.py"))
        assert paths(root) == ["a/b.py"]


def test_patterns_of_the_configuration_are_left_out(tmp_path) -> None:
    files = {"a.py": "", "third_party/x.py": "", "b_generated.py": ""}
    root = tree(tmp_path / "r", files)
    assert paths(root, ("third_party/", "*_generated.py")) == ["a.py"]


def test_one_file_is_a_repository_of_one(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA, "b.py": CUDA})
    found = assess(root / "a.py")
    assert (found.root, {f.path for f in found.findings}) == ("a.py", {"a.py"})


def test_a_link_to_a_repository_is_the_repository(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": ""})
    (tmp_path / "link").symlink_to(root)
    assert paths(tmp_path / "link") == ["a.py"]


@pytest.mark.parametrize("name", ["nothing", "loop", "pipe"])
def test_what_is_no_repository_is_a_wrong_request(tmp_path, name) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=name):
        assess(tmp_path / name)


def test_folders_as_deep_as_paths_may_be(tmp_path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    inside = os.open(root, os.O_RDONLY)
    for _ in range(700):  # as deep as paths may be
        os.mkdir("dddd", dir_fd=inside)
        deeper = os.open("dddd", os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = deeper
    os.close(inside)
    assert not list(assess(root, Options(cache=False)).findings)
