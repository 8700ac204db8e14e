"""NV1: names of torch.cuda. The table beside it says what stands for each."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.names import covered, offered
from cordee.port.python.file import PythonFile, Span
from cordee.port.python.fixes import (
    joined,
    of_device_module,
    renamed,
    substituted,
    unsafe,
    where_available,
)
from cordee.port.python.guards import npu_has_its_own
from cordee.port.python.openings import needs_cuda_itself, opened
from cordee.port.python.precision import in_annotation
from cordee.port.rule import Family, Match

CUDA = "torch.cuda."
family = Family("cuda_names", "Names of torch.cuda", ("cuda",))


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaName(Fact):
    """A name of torch.cuda, and what stands for it."""

    name: str  # behind torch.cuda.
    native: str = ""  # in torch_npu
    neutral: str = ""  # for any accelerator; where there is none, torch.get_device_module() has it
    alone: str = (
        ""  # what stands for it where torch has no accelerator; "" raises, "nothing" is no value
    )
    keywords: str = ""  # names of arguments that differ
    advice: str = ""  # what a person is to do; a name that has one is never rewritten

    @property
    def last(self) -> str:
        """The name behind its last dot."""
        return self.name.rpartition(".")[2]


@cache
def names() -> dict[str, CudaName]:
    """The table, by name."""
    path = files(__package__) / "cuda_names.toml"
    return {row.name: row for row in rows(path, CudaName)}


@family.rule(101, "a name of torch.cuda has a counterpart", ast.Attribute)
def counterpart(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    row = _row(node, file)
    if row is None or not row.native or row.advice:
        return
    if npu_has_its_own(file, node):
        says = f"`{CUDA}{row.name}` is for CUDA alone: another branch is there for the NPU"
        yield Match(file.span(node), says, meaning=Meaning.RUNS, source=row.source)
        return
    new = _stands_for(row, file)
    says = f"`{CUDA}{row.name}` is `{new}` {'everywhere' if file.setting.portable else 'on Ascend'}"
    fix, advice = _fix(node, row, file), ""
    if fix is None and row.alone and not isinstance(file.parent(node), ast.Call):
        advice = "it is passed on, not called: see to it that it is called on a chip only"
    elif fix is None:
        advice = f"write `{new}` where there is a chip"
    if in_annotation(file, node):
        meaning = Meaning.RENAMED if fix else Meaning.RUNS
        yield Match(file.span(node), says, fix, meaning=meaning, source=row.source)
    else:
        call = file.parent(node)
        asks = row.name == "is_available" and isinstance(call, ast.Call) and call.func is node
        opens: tuple[Span, ...] = ()
        if asks and isinstance(call, ast.Call):
            opens = opened(file, call)
            if needs_cuda_itself(file, call):
                fix, advice = (
                    unsafe(fix),
                    "by its reason the test needs CUDA itself: does an NPU do?",
                )
        yield Match(file.span(node), says, fix, advice=advice, opens=opens, source=row.source)


@family.rule(
    102, "a name of torch.cuda has a counterpart that differs", ast.Attribute,
    meaning=Meaning.SIGNATURE, effort=Effort.M,
)  # fmt: skip
def differs(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    row = _row(node, file)
    if row is None or not row.native or not row.advice:
        return
    says = f"`{CUDA}{row.name}` has the counterpart `{row.native}`, which differs"
    fix = None
    if not file.setting.portable and _is_offered(row.native, file):
        fix = unsafe(renamed(file, node, row.native))
    yield Match(file.span(node), says, fix, advice=row.advice, source=row.source)


@family.rule(
    103, "a name of torch.cuda has no counterpart", ast.Attribute,
    meaning=Meaning.MISSING, effort=Effort.M,
)  # fmt: skip
def missing(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    row = _row(node, file)
    if row is not None and not row.native:
        advice = row.advice or "private to CUDA: find another way, or guard it"
        says = f"`{CUDA}{row.name}` has no counterpart on Ascend"
        yield Match(file.span(node), says, advice=advice, source=row.source)


@family.rule(104, "something is imported from torch.cuda", ast.ImportFrom, ast.Import)
def imported(node: ast.ImportFrom | ast.Import, file: PythonFile) -> Iterator[Match]:
    for alias in node.names:
        origin = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        dotted = f"{origin}{alias.name}"
        if not f"{dotted}.".startswith(CUDA) or f"{dotted}.".startswith(f"{CUDA}amp."):
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            continue
        fix = _import_fix(node, file)
        row = names().get(dotted.removeprefix(CUDA))
        advice = (row.advice if row else "") or "its uses are reported where they are"
        says = f"`{dotted}` is imported"
        meaning = Meaning.MISSING if row is not None and not row.native else Meaning.RENAMED
        yield Match(file.span(alias), says, fix, advice=advice, meaning=meaning)


@family.rule(
    105, "the module torch.cuda itself is used as a value", ast.Attribute, ast.Call,
    advice="torch.get_device_module() is the module of the machine's accelerator",
)  # fmt: skip
def module(node: ast.Attribute | ast.Call, file: PythonFile) -> Iterator[Match]:
    if isinstance(node, ast.Call):
        asked = file.name(node.func) in ("builtins.hasattr", "builtins.getattr")
        match node.args:
            case [base, ast.Constant(value="cuda"), *_] if asked and file.name(base) == "torch":
                if not isinstance(file.parent(node), ast.Attribute):
                    says = "torch is asked for its module `cuda`, which it has on any machine"
                    yield Match(file.span(node), says, confidence=Confidence.LIKELY)
        return
    if file.name(node) != "torch.cuda" or isinstance(file.parent(node), ast.Attribute):
        return
    says = "the module `torch.cuda` is passed on or compared"
    fix = unsafe(_module_call(node, file)) if file.setting.portable else None
    yield Match(file.span(node), says, fix, confidence=Confidence.LIKELY)


@family.rule(
    106, "a name of torch.cuda that PyTorch 2.13 does not document", ast.Attribute,
    meaning=Meaning.MISSING, effort=Effort.M,
    advice="look for its counterpart in torch.npu; a private name may change with any release",
)  # fmt: skip
def unknown(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    name = file.name(node) or ""
    if not name.startswith(CUDA) or name.startswith(f"{CUDA}amp"):
        return
    parts = name.removeprefix(CUDA).split(".")
    known = any(".".join(parts[: n + 1]) in names() for n in range(len(parts)))
    if not known and not isinstance(file.parent(node), ast.Attribute):
        says = f"`{name}` is not in the table of PyTorch 2.13's names"
        yield Match(file.span(node), says, confidence=Confidence.UNSURE)


def _row(node: ast.Attribute, file: PythonFile) -> CudaName | None:
    """The table's row of a name that is written here as torch.cuda.x or as module.x."""
    name = file.name(node)
    if name is None or not name.startswith(CUDA):
        return None
    row = names().get(name.removeprefix(CUDA))
    deeper = file.parent(node)
    if isinstance(deeper, ast.Attribute) and names().get(
        (file.name(deeper) or "").removeprefix(CUDA)
    ):
        return None  # a longer name is in the table
    if isinstance(deeper, ast.Call) and file.name(deeper.func) == "torch.set_default_tensor_type":
        return None  # NV208 says it
    return row


def _stands_for(row: CudaName, file: PythonFile) -> str:
    if not file.setting.portable:
        return row.native
    return _neutral(row, file) or f"torch.get_device_module().{row.last}"


def _neutral(row: CudaName, file: PythonFile) -> str | None:
    return row.neutral if row.neutral and _is_offered(row.neutral, file) else None


def _is_offered(name: str, file: PythonFile) -> bool:
    return offered(name, file.setting.torch) or not covered(name)


def _fix(node: ast.Attribute, row: CudaName, file: PythonFile) -> Fix | None:
    if not isinstance(node.ctx, ast.Load) or not _is_offered(row.native, file):
        return None
    fix = _renaming(node, row, file)
    parent = file.parent(node)
    if not isinstance(parent, ast.Call) or parent.func is not node:
        differs = row.alone not in ("", "same") or row.name.endswith("Tensor")
        return None if file.setting.portable and differs else fix  # the CPU's module has no types
    fix = joined(fix, _keywords(parent, row, file))
    if fix is not None and file.setting.portable and row.alone not in ("", "same"):
        return where_available(file, parent, row.alone, fix)
    return fix


def _renaming(node: ast.Attribute, row: CudaName, file: PythonFile) -> Fix | None:
    if not file.setting.portable:
        return renamed(file, node, row.native)
    if in_annotation(file, node):
        neutral = f"torch.{row.last}"
        return renamed(file, node, neutral) if row.last in ("Stream", "Event") else None
    neutral_name = _neutral(row, file)
    if neutral_name is not None:
        return renamed(file, node, neutral_name)
    same = row.native.rpartition(".")[2] == row.last and row.native.count(".") == 2
    return of_device_module(file, node, row.last) if same else None


def _keywords(call: ast.Call, row: CudaName, file: PythonFile) -> Fix | None:
    """Arguments whose names differ, given by their places instead."""
    named = [k for k in call.keywords if k.arg in row.keywords.split()]
    if not named:
        return Fix(())
    if len(call.keywords) > 1 or call.args:
        return None
    start = file.span(named[0]).start
    return Fix((Edit(start, file.span(named[0].value).start, ""),))


def _module_call(node: ast.Attribute, file: PythonFile) -> Fix | None:
    fix = renamed(file, node, "torch.get_device_module")
    if fix is None:
        return None
    *imports, edit = fix.edits
    return Fix((*imports, Edit(edit.start, edit.end, f"{edit.text}()")))


def _import_fix(node: ast.ImportFrom | ast.Import, file: PythonFile) -> Fix | None:
    """`from torch.cuda import a, b` from where all of them are, under the same names."""
    if not isinstance(node, ast.ImportFrom) or node.module not in ("torch.cuda", "torch"):
        return None
    if node.module == "torch":
        return _native_import(node, file)
    found = [names().get(alias.name) for alias in node.names]
    every = [row for row in found if row is not None and row.native and not row.advice]
    if len(every) < len(found) or not every:
        return None
    targets = {_importable(row, file) for row in every}
    modules = {target.rpartition(".")[0] for target in targets if target}
    same = all(t and t.rpartition(".")[2] in {row.last for row in every} for t in targets)
    if len(modules) != 1 or not same:
        return None
    return _module_of_import(node, file, modules.pop())


def _importable(row: CudaName, file: PythonFile) -> str | None:
    """Where a name can be imported from with no other change at its uses."""
    if not file.setting.portable:
        return row.native if _is_offered(row.native, file) else None
    return _neutral(row, file) if row.alone in ("", "same") else None


def _native_import(node: ast.ImportFrom, file: PythonFile) -> Fix | None:
    cuda = next((alias for alias in node.names if alias.name == "cuda"), None)
    if cuda is None or file.setting.portable:
        return None
    return substituted(file, cuda, f"npu as {cuda.asname or 'cuda'}")


def _module_of_import(node: ast.ImportFrom, file: PythonFile, module: str) -> Fix | None:
    span = file.span(node)
    text = file.source.text
    start = text.index("torch.cuda", span.start)
    if text[span.start : start].strip() != "from":
        return None
    return Fix((Edit(start, start + len("torch.cuda"), module),))
