"""NV30: mixed precision: what torch.cuda.amp has, torch.amp has for every device."""

import ast
from collections.abc import Iterator

from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.names import offered
from cordee.port.python.attempts import in_handler
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import joined, renamed, unsafe
from cordee.port.python.precision import (
    AUTOCAST,
    MADE,
    arguments,
    device,
    neutral,
    origin,
    together,
)
from cordee.port.rule import Family, Match

GUIDE = "https://docs.pytorch.org/docs/2.13/amp.html"
ASCEND = "github.com/Ascend/pytorch docs/zh/api/native_api/pytorch_2-13-0/torch-amp.md"
# Functions that speak of CUDA's autocast, what takes a device for them, and how many arguments
# those have that are about CUDA.
ASKING = {
    "torch.get_autocast_gpu_dtype": ("torch.get_autocast_dtype", 0),
    "torch.set_autocast_gpu_dtype": ("torch.set_autocast_dtype", 1),
    "torch.is_autocast_enabled": ("torch.is_autocast_enabled", 0),
    "torch.set_autocast_enabled": ("torch.set_autocast_enabled", 1),
}
family = Family(
    "amp",
    "Mixed precision",
    ("autocast", "gradscaler", "custom_fwd", "custom_bwd", "cuda.amp", "import amp"),
)


@family.rule(
    301, "a name of torch.cuda.amp is used", ast.Attribute, ast.Name,
    advice="torch.amp has it for every device: its first argument is the kind of device",
    source=ASCEND,
)  # fmt: skip
def used(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    name = file.name(node)
    new = neutral(name) if isinstance(node.ctx, ast.Load) else None
    if new is None or name is None:
        return
    binding = origin(file, node)
    if isinstance(node, ast.Name) and binding is None:
        return  # another name for what is reported where it gets that name
    says = f"`{name}` is `{new}`"
    if new not in MADE:
        says, advice = f"`{name}` is private to CUDA", "torch.amp has no such name for all devices"
        yield Match(file.span(node), says, advice=advice, meaning=Meaning.SIGNATURE)
        return
    grouped = together(file, binding) if binding is not None else None
    fix = grouped if grouped is not None else _alone(node, new, file)
    yield Match(file.span(node), says, _checked(fix, new, file))


@family.rule(
    302, "something is imported from torch.cuda.amp", ast.ImportFrom, ast.Import,
    advice="import it from torch.amp, and name the kind of device where it is used",
    source=ASCEND,
)  # fmt: skip
def imported(node: ast.ImportFrom | ast.Import, file: PythonFile) -> Iterator[Match]:
    if isinstance(node, ast.ImportFrom) and node.level:
        return
    before = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for alias in node.names:
        dotted = f"{before}{alias.name}"
        if not f"{dotted}.".startswith("torch.cuda.amp."):
            continue
        says = f"`{dotted}` is imported"
        fix = together(file, node)
        if isinstance(node, ast.Import) and not alias.asname:
            advice = "the import does no harm; its uses are reported where they are"
            yield Match(file.span(alias), says, advice=advice, meaning=Meaning.RUNS)
        else:
            yield Match(file.span(alias), says, fix)


@family.rule(
    303, "CUDA's autocast is asked or set", ast.Call, meaning=Meaning.SIGNATURE,
    advice="name the kind of device", source=GUIDE,
)  # fmt: skip
def asked(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    name = file.name(node.func)
    new, takes = ASKING.get(name or "", ("", 0))
    if not new or len(node.args) != takes or node.keywords:
        return
    if any(isinstance(arg, ast.Starred) for arg in node.args):
        return
    kind = device(file, node)
    inside = file.arguments(node)
    fix = None
    if kind is not None and file.formatted(node) is None and offered(new, file.setting.torch):
        separator = ", " if node.args else ""
        edit = Edit(inside.start, inside.start, kind.text + separator)
        same = new == name
        naming = Fix(()) if same else renamed(file, node.func, new)
        fix = joined(Fix((*kind.imports, edit)), naming)
    if fix is not None and in_handler(file, node):  # may be what an older torch is asked
        fix = unsafe(fix)
    yield Match(file.span(node), f"`{file.text(node.func)}` means CUDA's autocast", fix)


@family.rule(
    304, "the module torch.cuda.amp itself is used as a value", ast.Attribute, ast.Name,
    effort=Effort.M, advice="torch.amp is the module for every device; it wants their kind named",
)  # fmt: skip
def module(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    if file.name(node) != "torch.cuda.amp" or isinstance(file.parent(node), ast.Attribute):
        return
    if isinstance(node.ctx, ast.Load):
        says = "the module `torch.cuda.amp` is passed on or given another name"
        yield Match(file.span(node), says, confidence=Confidence.LIKELY)


def _alone(node: ast.Attribute | ast.Name, new: str, file: PythonFile) -> Fix | None:
    """The fix of a use that no import has to change for."""
    if isinstance(node, ast.Name):
        return None
    inside = arguments(file, node, new)
    naming = renamed(file, node, new)
    return joined(Fix(inside), naming) if inside is not None else None


def _checked(fix: Fix | None, new: str, file: PythonFile) -> Fix | None:
    """The default dtype of torch.amp.autocast can be set, that of torch.cuda.amp's is float16."""
    if not offered(new, file.setting.torch):
        return None
    sets = "set_autocast_" in file.source.text
    return unsafe(fix) if sets and new == AUTOCAST else fix
