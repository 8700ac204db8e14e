"""What Huawei's migration tool, msfmktransplt, makes of a repository.

The tool is started as its users start it, by its own script, from any checkout of
Ascend/mstt's folder msfmktransplt/src/ms_fmk_transplt, with a Python that has pandas, libcst, jedi
and prettytable.
"""

import ast
import os
import re
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from named_lines import NAMES, named_in, tracked
from ported_repository import compiles

from cordee.port.names import covered, offered

AIMED_AT = "2.8.0"  # the newest version of torch that the tool knows
LONGEST_S = 1800
EVERY_CHIP = re.compile(r"npu|hccl|ascend|accelerator|get_device_module|device_type", re.IGNORECASE)


@dataclass(frozen=True)
class Peer:
    """Where the tool is, and the Python that runs it."""

    folder: Path
    python: Path

    def migrate(self, repository: Path, into: Path) -> "Migration":
        """Let the tool write a migrated copy of `repository`."""
        command = ["bash", str(self.folder / "pytorch_gpu2npu.sh"), "-i", str(repository)]
        command += ["-o", str(into), "-v", AIMED_AT]
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        before, begin = _busy_s(), time.perf_counter()
        with tempfile.TemporaryFile() as said:
            ended = subprocess.run(
                command,
                env=os.environ | {"PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=LONGEST_S,
                check=False,
            )
            said.seek(0)
            log = said.read().decode(errors="replace")
        spent_s, busy_s = time.perf_counter() - begin, _busy_s() - before
        return Migration(next(into.glob("*_msft*"), None), ended.returncode, log, spent_s, busy_s)


@dataclass(frozen=True)
class Migration:
    """One run of the tool."""

    folder: Path | None  # of the migrated copy
    code: int
    log: str
    spent_s: float  # by the clock
    busy_s: float  # of processors


def _busy_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Change:
    """What a tool did to a repository."""

    files: int  # that differ
    lines: int  # that differ
    bare: int  # of these, that named nothing of NVIDIA's before
    left: int  # that name NVIDIA, and nothing of Ascend or of every chip
    dangling: tuple[str, ...]  # names of the adapter that it does not have
    broken: int  # Python files that no longer compile


def change(before: Path, after: Path, version: str) -> Change:
    """Compare a repository with what a tool made of it; `version` of torch is aimed at."""
    files = lines = bare = left = broken = 0
    dangling: set[str] = set()
    for path in tracked(before):
        old, new = before / path, after / path
        if old.is_symlink() or not old.is_file() or not new.is_file():
            continue
        if old.read_bytes() != new.read_bytes():
            files += 1
            changed, without = _difference(_text(old), _text(new))
            lines, bare = lines + changed, bare + without
            broken += not compiles(new)
        text = _text(new)
        left += sum(
            1
            for number, words in named_in(path, new.read_bytes()).items()
            if words and not EVERY_CHIP.search(text.split("\n")[number - 1])
        )
        dangling |= _dangling(path, text, version)
    return Change(files, lines, bare, left, tuple(sorted(dangling)), broken)


def _difference(before: str, after: str) -> tuple[int, int]:
    """Lines that differ, and those of them that named nothing of NVIDIA's."""
    old, new = before.splitlines(), after.splitlines()
    changed = bare = 0
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            size = max(i2 - i1, j2 - j1)
            named = sum(1 for line in old[i1:i2] if NAMES.search(line))
            changed, bare = changed + size, bare + size - min(named, size)
    return changed, bare


def _dangling(path: str, text: str, version: str) -> set[str]:
    """Names that the text takes from torch.npu or torch_npu, and that are not there."""
    if not path.endswith(".py"):
        return set()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    found = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names = {name.replace("torch_npu.npu", "torch.npu") for name in found}
    ours = {name for name in names if re.fullmatch(r"(torch\.npu|torch_npu)(\.\w+)+", name)}
    return {name for name in ours if covered(name) and not offered(name, version)}


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")
