"""Names that a repository gives to things of its own, such as use_cuda or a class CudaTimer.

A use of one is no tie to NVIDIA: what ties is where the name is bound, if anything does. Names of
two kinds are nobody's own: those that PyTorch gives too, and those bound by an import.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from named_lines import NAMES, tracked

# A repository may define such a method or variable; not every use of the name is then its own.
PYTORCHS = frozenset({"cuda", "is_cuda", "nccl", "cudnn", "nvidia", "CUDA", "NCCL"})
OPTION = re.compile(r"--?([\w-]+)")


def own_names(root: Path) -> frozenset[str]:
    """Those of all Python files, as far as they name NVIDIA."""
    found: set[str] = set()
    for path in tracked(root):
        file = root / path
        if not path.endswith((".py", ".pyi")) or file.is_symlink() or not file.is_file():
            continue
        found.add(Path(path).stem)
        found.update(Path(path).parts[:-1])
        text = file.read_text("utf-8", errors="replace")
        if NAMES.search(text) is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            found.update(_bound(node))
    return frozenset(name for name in found if NAMES.search(name)) - PYTORCHS


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.arg(arg=name):
            yield name
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.Call(func=ast.Attribute(attr="add_argument"), args=args):
            texts = [arg.value for arg in args if isinstance(arg, ast.Constant)]
            for option in filter(None, map(OPTION.fullmatch, map(str, texts))):
                yield option[1]
                yield option[1].replace("-", "_")


def is_own(word: str, own: frozenset[str]) -> bool:
    """Whether every part of a dotted word that names NVIDIA is one of these names."""
    if word.startswith("torch."):
        return False
    parts = [part.strip("-") for part in word.split(".") if NAMES.search(part)]
    return all(part in own for part in parts)
