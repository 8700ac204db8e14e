"""The hook for pre-commit, as pre-commit reads it and runs it."""

import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from trees import CUDA, PLAIN, committed, git, tree

ROOT = Path(__file__).parents[2]
KEYS = {
    "id", "name", "description", "entry", "language", "pass_filenames", "require_serial",
    "minimum_pre_commit_version",
}  # fmt: skip


def hook() -> dict[str, object]:
    (found,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    return dict(found)


def run(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the hook's entry in a repository, as pre-commit does: without names of files."""
    program, *arguments = shlex.split(str(hook()["entry"]))
    assert program == "cordee"
    command = [sys.executable, "-m", "cordee", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_hook_is_one_that_pre_commit_takes() -> None:
    found = hook()
    assert (found["id"], found["language"]) == ("cordee-assess", "python")
    assert found["pass_filenames"] is False
    assert found.keys() <= KEYS


def test_a_commit_that_adds_a_tie_is_stopped_and_one_that_does_not_is_not(tmp_path) -> None:
    root = committed(tree(tmp_path / "r", {"old.py": CUDA, "a.py": PLAIN}))
    assert run(root).returncode == 0
    (root / "a.py").write_text(PLAIN + "import torch\ntorch.cuda.empty_cache()\n")
    git(root, "add", "a.py")
    done = run(root)
    assert done.returncode == 1
    assert "a.py:4:1: NV101" in done.stdout
    assert "old.py" not in done.stdout


def test_before_the_first_commit_all_is_new(tmp_path) -> None:
    root = tree(tmp_path / "r", {"a.py": CUDA})
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    done = run(root)
    assert (done.returncode, done.stderr) == (1, "")
    assert "a.py:5:1: NV101" in done.stdout


def test_the_recipes_of_the_documentation_can_be_read() -> None:
    text = (ROOT / "docs" / "assess.md").read_text("utf-8")
    recipes = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    assert len(recipes) == 3
    for recipe in recipes:
        assert isinstance(yaml.safe_load(recipe), dict)
