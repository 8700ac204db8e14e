"""Uses of torch.cuda.amp written with torch.amp: the kind of device is named, arguments are kept."""

import ast
import re

from cordee.port.finding import Edit, Fix
from cordee.port.names import offered
from cordee.port.python.devices import CURRENT
from cordee.port.python.file import PythonFile
from cordee.port.python.guards import guarded
from cordee.port.python.scopes import Binding, How
from cordee.port.python.spelling import Spelling, spell

OLD = "torch.cuda.amp"
AUTOCAST = "torch.amp.autocast"
SCALER = "torch.amp.GradScaler"
# What torch.amp has of it. Of autocast and GradScaler the device is the first argument.
MADE = (AUTOCAST, SCALER, "torch.amp.custom_fwd", "torch.amp.custom_bwd")
# Of torch.cuda.amp.autocast, by place. torch.amp.autocast has them at other places.
PARAMETERS = ("enabled", "dtype", "cache_enabled")
COMMENT = re.compile(r"#[^\r\n]*")


def neutral(name: str | None) -> str | None:
    """The name in torch.amp of one in torch.cuda.amp; one that is not in MADE does not exist."""
    if name is None or not name.startswith(f"{OLD}."):
        return None
    rest = name.removeprefix(f"{OLD}.").removeprefix("autocast_mode.")
    return f"torch.amp.{rest.removeprefix('grad_scaler.')}"


def device(file: PythonFile, at: ast.AST) -> Spelling | None:
    """The kind of the machine's device, as text; CUDA's precision is off where there is none."""
    if not file.setting.portable:
        return Spelling('"npu"')
    current = spell(file, at, CURRENT) if offered(CURRENT, file.setting.torch) else None
    if current is None:
        return None
    sure = guarded(file, at)
    text = f"{current.text}().type" if sure else f'str({current.text}() or "cuda")'
    return Spelling(text, current.imports)


def origin(file: PythonFile, node: ast.Attribute | ast.Name) -> ast.Import | ast.ImportFrom | None:
    """The import that names torch.cuda.amp, or a part of it, for the name that `node` begins with."""
    base: ast.expr = node
    while isinstance(base, ast.Attribute):
        base = base.value
    if not isinstance(base, ast.Name):
        return None
    found = [b for b in file.bindings(base) if b.how is How.IMPORT]
    for binding in found:
        if f"{binding.dotted}.".startswith(f"{OLD}."):
            assert isinstance(binding.node, (ast.Import, ast.ImportFrom))
            return binding.node
    return None


def together(file: PythonFile, statement: ast.Import | ast.ImportFrom) -> Fix | None:
    """An import from torch.cuda.amp, and all uses of what it names, as one fix."""
    edit = _import_edit(file, statement)
    if edit is None or file.source.path.endswith("__init__.py"):
        return None
    edits, some = [edit], False
    for alias in statement.names:
        name = alias.asname or alias.name
        scope = file.scope(statement)
        if not _only_here(scope.bindings.get(name, []), statement) or _exported(file, name):
            return None
        for use in file.named(name):
            found = file.scope(use).lookup(name)
            if found is None or found[0] is not scope:
                continue
            inside = _of_use(file, use)
            if inside is None:
                return None
            edits, some = [*edits, *inside], True
    return Fix(tuple(dict.fromkeys(edits))) if some else None


def arguments(file: PythonFile, node: ast.expr, new: str) -> tuple[Edit, ...] | None:
    """What changes behind the name `node` when it becomes `new`; None where that is not known."""
    if in_annotation(file, node) or _asked_about(file, node):
        return () if new in (AUTOCAST, SCALER) else None
    kind = device(file, node)
    if kind is None or new not in MADE or file.formatted(node) is not None or _scripted(file, node):
        return None
    first = new in (AUTOCAST, SCALER)
    given = kind.text if first else f"device_type={kind.text}"
    match file.parent(node):
        case ast.Call(func=func) as call if func is node:
            edits = _of_call(file, call, new, given)
        case ast.FunctionDef(decorator_list=decorators) if node in decorators and not first:
            end = file.span(node).end
            edits = [Edit(end, end, f"({given})")]
        case ast.Call(args=[only]) as call if only is node and (
            file.name(call.func) == "functools.partial"
        ):
            end = file.span(node).end
            edits = [Edit(end, end, f", {given}")]
        case _:
            return None
    return (*kind.imports, *edits) if edits is not None else None


def in_annotation(file: PythonFile, node: ast.AST) -> bool:
    """Whether `node` is a part of what says the type of something."""
    child, parent = node, file.parent(node)
    while isinstance(parent, ast.expr):
        child, parent = parent, file.parent(parent)
    match parent:
        case ast.arg(annotation=annotation) | ast.AnnAssign(annotation=annotation):
            return child is annotation
        case ast.FunctionDef(returns=returns) | ast.AsyncFunctionDef(returns=returns):
            return child is returns
    return False


def _of_use(file: PythonFile, use: ast.Name) -> tuple[Edit, ...] | None:
    """The edits behind a name that an import gives, or behind a name in the module it gives."""
    top: ast.expr = use
    while neutral(file.name(top)) not in MADE:
        parent = file.parent(top)
        if not isinstance(parent, ast.Attribute):
            return None
        top = parent
    return arguments(file, top, neutral(file.name(top)) or "")


def _of_call(file: PythonFile, call: ast.Call, new: str, given: str) -> list[Edit] | None:
    if any(isinstance(arg, ast.Starred) for arg in call.args):
        return None
    inside = file.arguments(call)
    if new not in (AUTOCAST, SCALER):
        if len(call.args) > 1 or (call.args and _parenthesised(file, call, 0)):
            return None
        if call.args:
            end = file.span(call.args[0]).end
            return [Edit(end, end, f", {given}")]
    wrapped = file.source.text[inside.start : inside.end].lstrip(" \t")[:1] in ("\r", "\n", "#")
    separator = ("," if wrapped else ", ") if call.args or call.keywords else ""
    edits = [Edit(inside.start, inside.start, given + separator)]
    if new == AUTOCAST:
        for place, arg in enumerate(call.args):
            if place >= len(PARAMETERS) or _parenthesised(file, call, place):
                return None
            start = file.span(arg).start
            edits.append(Edit(start, start, f"{PARAMETERS[place]}="))
    return edits


def _parenthesised(file: PythonFile, call: ast.Call, place: int) -> bool:
    """Whether a parenthesis opens between the arguments before this one and itself."""
    start = file.arguments(call).start if not place else file.span(call.args[place - 1]).end
    between = file.source.text[start : file.span(call.args[place]).start]
    return "(" in COMMENT.sub("", between)


def _asked_about(file: PythonFile, node: ast.expr) -> bool:
    """Whether it is the class in `isinstance(x, node)`."""
    parent = file.parent(node)
    child: ast.AST = node
    if isinstance(parent, ast.Tuple):
        child, parent = parent, file.parent(parent)
    if not isinstance(parent, ast.Call) or len(parent.args) != 2 or parent.args[1] is not child:
        return False
    return file.name(parent.func) in ("builtins.isinstance", "builtins.issubclass")


def _scripted(file: PythonFile, node: ast.AST) -> bool:
    """Whether TorchScript compiles it, which knows no torch.accelerator."""
    parent = file.parent(node)
    while parent is not None:
        if isinstance(parent, (ast.FunctionDef, ast.ClassDef)):
            for decorator in parent.decorator_list:
                if (file.name(decorator) or "").startswith("torch.jit.script"):
                    return True
        parent = file.parent(parent)
    return False


def _import_edit(file: PythonFile, statement: ast.Import | ast.ImportFrom) -> Edit | None:
    """torch.amp for torch.cuda.amp in an import of which all can change."""
    match statement:
        case ast.ImportFrom(module="torch.cuda", names=[ast.alias(name="amp")], level=0):
            old, new = "torch.cuda", "torch"
        case ast.ImportFrom(module=str(module), names=names, level=0):
            if any(neutral(f"{module}.{alias.name}") not in MADE for alias in names):
                return None
            old, new = OLD, "torch.amp"
        case ast.Import(names=[ast.alias(name=name, asname=str())]) if name.startswith(OLD):
            old, new = OLD, "torch.amp"
        case _:
            return None
    span = file.span(statement)
    text = file.source.text[span.start : span.end]
    found = re.match(rf"(?:from|import)[ \t]+({re.escape(old)})\b", text)
    if found is None:
        return None
    return Edit(span.start + found.start(1), span.start + found.end(1), new)


def _only_here(bindings: list[Binding], statement: ast.stmt) -> bool:
    """Whether a name means what this statement says, or nothing where the import failed."""
    for binding in bindings:
        nothing = isinstance(binding.value, ast.Constant) and binding.how is How.VALUE
        if binding.node is not statement and not nothing:
            return False
    return True


def _exported(file: PythonFile, name: str) -> bool:
    """Whether the module lists it among the names that others take from it."""
    return any(
        isinstance(element, ast.Constant) and element.value == name
        for binding in file.tree.scopes[file.tree.module].bindings.get("__all__", [])
        if isinstance(binding.value, (ast.List, ast.Tuple))
        for element in binding.value.elts
    )
