"""Texts such as "cuda:0": whether one is meant as a device, and how a portable one is written."""

import ast
import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto

from cordee.port.finding import Edit, Fix
from cordee.port.python.file import PythonFile
from cordee.port.python.guards import guarded
from cordee.port.python.kinds import Kind, kind
from cordee.port.python.roles import function, parameter, unpacked_to, whole
from cordee.port.python.scopes import FUNCTIONS
from cordee.port.python.spelling import spell

CURRENT = "torch.accelerator.current_accelerator"
DEVICE_TEXT = re.compile(r"cuda(:(?!nccl).*)?", re.DOTALL)
DEVICE_NAME = re.compile(
    r"(?:^|[_.\-])(?:device|dev|devices|device_type|device_str|device_name|map_location|"
    r"device_map|gpu_device|target_device|accelerator_type)$",
    re.IGNORECASE,
)
# Functions that take a device, and at which place; None where only by keyword.
TAKERS = {
    "torch.device": 0,
    "torch.autocast": 0,
    "torch.amp.autocast": 0,
    "torch.amp.GradScaler": 0,
    "torch.amp.grad_scaler.GradScaler": 0,
    "torch.amp.autocast_mode.autocast": 0,
    "torch.get_autocast_dtype": 0,
    "torch.is_autocast_enabled": 0,
    "torch.set_autocast_enabled": 0,
    "torch.set_autocast_dtype": 0,
    "torch.amp.is_autocast_available": 0,
    "torch.Generator": 0,
    "torch.set_default_device": 0,
    "torch.load": 1,
    "torch.distributed.init_device_mesh": 0,
    "torch.distributed.device_mesh.init_device_mesh": 0,
    "torch.distributed.DeviceMesh": 0,
    "torch.distributed.device_mesh.DeviceMesh": 0,
    "torch.get_device_module": 0,
    "torch.Event": 0,
    "torch.Stream": 0,
}
KEYWORDS = frozenset({"device", "map_location", "device_type", "device_str", "pin_memory_device"})


class Use(Enum):
    """What a text that could be a device is there for."""

    DEVICE = auto()  # it is handed on as one
    OBJECT = auto()  # likewise, to torch, which takes a torch.device as well
    OTHER = auto()  # it is compared, a key, a part of another text: another rule's business
    UNKNOWN = auto()

    def __bool__(self) -> bool:
        return self is not Use.UNKNOWN


def names_device(node: ast.AST) -> bool:
    """Whether a text starts as a CUDA device does: "cuda", "cuda:0", f"cuda:{rank}"."""
    match node:
        case ast.Constant(value=str(text)):
            return DEVICE_TEXT.fullmatch(text) is not None
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text.startswith("cuda:")
    return False


def use(file: PythonFile, node: ast.expr) -> Use:
    """What the text `node` is there for."""
    child, parent = _whole(file, node)
    match parent:
        case ast.Call():
            return _in_call(file, parent, child)
        case ast.keyword(arg=name):
            call = file.parent(parent)
            assert isinstance(call, (ast.Call, ast.ClassDef))
            return _by_keyword(file, call, name)
        case ast.Assign(targets=targets) if child is parent.value:
            return _if_named(*map(_last_name, targets)) or _if_used(file, targets)
        case ast.AnnAssign(target=target) | ast.NamedExpr(target=target):
            return _if_named(_last_name(target)) or _if_used(file, [target])
        case ast.Tuple():
            return _if_named(*map(_last_name, unpacked_to(file, parent, child)))
        case ast.arguments():
            return _if_named(parameter(parent, child))
        case ast.Return():
            return _if_named(function(file, parent))
        case ast.Dict(keys=keys, values=values) if child in values:
            match keys[values.index(child)]:
                case ast.Constant(value=str(key)):
                    return _if_named(key)
            return Use.UNKNOWN
        case ast.Compare() | ast.Dict() | ast.Subscript() | ast.Expr() | ast.MatchValue():
            return Use.OTHER
    return Use.UNKNOWN


def portable(file: PythonFile, node: ast.expr, where: Use, fallback: str = "cpu") -> Fix | None:
    """The machine's accelerator in place of "cuda" in the text `node`."""
    spelling = spell(file, node, CURRENT)
    if spelling is None or not file.exact(node):
        return None
    assert isinstance(node, (ast.Constant, ast.JoinedStr))
    pieces = file.literals(node)
    first = pieces[0]
    if first.prefix not in ("", "f", "r", "fr", "rf") or len(first.quote) > 1 or len(pieces) > 1:
        return None
    body = file.source.text[first.body : first.body_end]
    other = "'" if first.quote == '"' else '"'
    sure = guarded(file, node)
    if body == "cuda":
        text = (
            f"{spelling.text}()"
            if sure
            else f"{spelling.text}() or {first.quote}{fallback}{first.quote}"
        )
        if where is not Use.OBJECT:
            text = f"{text}.type" if sure else f"str({text})"
        elif not sure and not _free(file, node):
            text = f"({text})"
        return Fix((*spelling.imports, Edit(first.start, first.end, text)))
    if file.formatted(node) is not None:
        return None
    inner = f"{spelling.text}()" if sure else f"{spelling.text}() or {other}{fallback}{other}"
    edits = [Edit(first.body, first.body + len("cuda"), f"{{{inner}}}")]
    if "f" not in first.prefix:
        edits.append(Edit(first.start, first.start, "f"))
        edits += _doubled_braces(body, first.body)
    return Fix((*spelling.imports, *edits))


def native(file: PythonFile, node: ast.Constant | ast.JoinedStr) -> Fix | None:
    """ "npu" in place of "cuda" at the start of the text `node`."""
    pieces = file.literals(node)
    if not pieces or not file.exact(node):
        return None
    start = pieces[0].body
    if not file.source.text.startswith("cuda", start):
        return None
    return Fix((Edit(start, start + len("cuda"), "npu"),))


def is_device(file: PythonFile, node: ast.expr) -> bool:
    """Whether an expression that a text is compared with is a device, its type or its text."""
    if kind(file, node) is Kind.DEVICE:
        return True
    match node:
        case ast.Attribute(attr="type", value=value):
            return True if kind(file, value) is Kind.DEVICE else _device_like(value)
        case ast.Call(func=ast.Name(id="str"), args=[inner]):
            return is_device(file, inner)
        case ast.Call(func=ast.Attribute(attr="lower" | "strip", value=inner)):
            return is_device(file, inner)
        case ast.Subscript(value=ast.Call(func=ast.Attribute(attr="split", value=inner))):
            return is_device(file, inner)
    return _device_like(node)


def _device_like(node: ast.expr) -> bool:
    return DEVICE_NAME.search(_last_name(node)) is not None


def _doubled_braces(body: str, start: int) -> Iterator[Edit]:
    for at, character in enumerate(body):
        if character in "{}":
            yield Edit(start + at, start + at, character)


def _free(file: PythonFile, node: ast.expr) -> bool:
    """Whether `a or b` may be written in place of `node` without parentheses."""
    return isinstance(file.parent(node), (ast.Call, ast.keyword))


def _whole(file: PythonFile, node: ast.expr) -> tuple[ast.AST, ast.AST | None]:
    """The expression that begins as `node` does, through choices too, and what it stands in."""
    child, parent = whole(file, node)
    match parent:
        case ast.BinOp(op=ast.Add() | ast.Mod(), left=left) if child is left:
            return _whole(file, parent)
        case ast.Attribute(attr="format"):
            call = file.parent(parent)
            if isinstance(call, ast.Call) and call.func is parent:
                return _whole(file, call)
    return child, parent


def _in_call(file: PythonFile, call: ast.Call, child: ast.AST) -> Use:
    place = call.args.index(child) if child in call.args else None
    name = file.name(call.func)
    if name in TAKERS:
        if place == TAKERS[name]:
            whole = name in ("torch.set_default_device", "torch.load", "torch.Generator")
            alone = name == "torch.device" and len(call.args) == 1 and not call.keywords
            return Use.OBJECT if whole or alone else Use.DEVICE
        return Use.UNKNOWN
    match call.func, call.args:
        case ast.Attribute(attr="to" | "cuda", value=owner), _ if place == 0:
            return Use.UNKNOWN if kind(file, owner) is Kind.OWN else Use.OBJECT
        case ast.Attribute(attr="get" | "pop" | "getenv"), [ast.Constant(value=str(key)), *_]:
            return _if_named(key) if place == 1 else Use.OTHER
        case ast.Name(id="getattr"), [_, ast.Constant(value=str(key)), *_] if place == 2:
            return _if_named(key)
        case ast.Attribute(attr="startswith" | "endswith"), _:
            return Use.OTHER
    return Use.UNKNOWN


def _by_keyword(file: PythonFile, call: ast.AST, name: str | None) -> Use:
    if name in KEYWORDS:
        torch_call = isinstance(call, ast.Call) and (file.name(call.func) or "").startswith(
            "torch."
        )
        return Use.OBJECT if torch_call and name in ("device", "map_location") else Use.DEVICE
    match call:
        case ast.Call(args=[ast.Constant(value=str(option)), *_]) if name == "default":
            return _if_named(option.lstrip("-"))
    return _if_named(name or "")


def _if_named(*names: str) -> Use:
    return Use.DEVICE if any(DEVICE_NAME.search(name) for name in names) else Use.UNKNOWN


def _if_used(file: PythonFile, targets: Sequence[ast.expr]) -> Use:
    """What a variable of a function is there for, that has no other value: a device, where nothing else is done with it."""
    match targets:
        case [ast.Name(id=name) as target]:
            scope = file.scope(target)
        case _:
            return Use.UNKNOWN
    if not isinstance(scope.node, FUNCTIONS) or len(scope.bindings.get(name, ())) != 1:
        return Use.UNKNOWN
    uses = {
        use(file, node)
        for node in file.named(name)
        if node is not target and file.bindings(node) is scope.bindings[name]
    }
    if uses and uses <= {Use.DEVICE, Use.OBJECT}:
        return Use.OBJECT if uses == {Use.OBJECT} else Use.DEVICE
    return Use.UNKNOWN


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case ast.Call(func=func):
            return _last_name(func)
    return ""
