"""NV40: distributed backends: NCCL where it is named, compared with, offered and asked for."""

import ast
import re
from collections.abc import Iterator

from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.names import offered
from cordee.port.python import neighbours
from cordee.port.python.backends import BACKEND_NAME, default_backend, named_backend, with_device
from cordee.port.python.file import PythonFile, Span
from cordee.port.python.fixes import joined, renamed, substituted, unsafe
from cordee.port.python.prose import is_prose
from cordee.port.python.roles import Role, last_name, role, whole
from cordee.port.rule import Family, Match

DOCS = "https://docs.pytorch.org/docs/2.13/distributed.html"
WHEEL = "https://pypi.org/project/torch-npu/2.13.0/ (its wheel, imported beside torch 2.13.0)"
# Functions that take a backend, and at which place.
TAKERS = {
    "torch.distributed.init_process_group": 0,
    "torch.distributed.distributed_c10d.init_process_group": 0,
    "torch.distributed.new_group": 2,
    "torch.distributed.new_subgroups": 3,
    "torch.distributed.new_subgroups_by_enumeration": 2,
    "torch.distributed.is_backend_available": 0,
    "torch.distributed.Backend": 0,
    "deepspeed.init_distributed": 0,
    "deepspeed.comm.init_distributed": 0,
}
# Packages that hand the name of a backend to torch.distributed.
HANDING_ON = frozenset({
    "torch", "deepspeed", "accelerate", "lightning", "pytorch_lightning", "transformers",
    "builtins", "argparse", "dataclasses", "click", "typer", "absl", "os", "pydantic",
})  # fmt: skip
MIXED = re.compile(r"(?:[a-z]+:[a-z]+,)*cuda:nccl(?:,[a-z]+:[a-z]+)*")
WORD = re.compile(r"nccl", re.IGNORECASE)
family = Family("distributed", "Distributed backends", ("nccl",))


@family.rule(401, "the backend NCCL is named", ast.Constant, ast.Attribute, source=DOCS)
def named(node: ast.Constant | ast.Attribute, file: PythonFile) -> Iterator[Match]:
    if not _names_nccl(node, file) or file.formatted(node) is not None:
        return
    where = role(file, node)
    if not _is_backend(where, node, file) or _is_fallback(node, file):
        return
    says = f"{file.text(node)} is the backend of NVIDIA GPUs"
    fix = _backend_fix(node, file)
    package = (file.name(where.call.func) or "").partition(".")[0] if where.call else ""
    if package and package not in HANDING_ON:
        fix = unsafe(fix)
    advice = "" if fix else "choose it by the device: torch.distributed's default for it"
    yield Match(file.span(node), says, fix, advice=advice)


@family.rule(402, "a backend is compared with NCCL", ast.Compare, ast.Call, source=WHEEL)
def compared(node: ast.Compare | ast.Call, file: PythonFile) -> Iterator[Match]:
    says = f"`{file.text(node)}` asks whether the backend is NCCL"
    if isinstance(node, ast.Call):
        match node:
            case ast.Call(func=ast.Attribute(attr="startswith", value=owner), args=[text]) if (
                _names_nccl(text, file)
            ):
                yield _compared(node, owner, says, _either(text, file), file)
        return
    if len(node.ops) != 1 or _answered(node, file):
        return
    left, right, operator = node.left, node.comparators[0], node.ops[0]
    if isinstance(right, (ast.Tuple, ast.List, ast.Set)):
        if any(_names_nccl(element, file) for element in right.elts):
            yield _compared(node, left, says, _one_more(right, file), file)
    elif _names_nccl(left, file) or _names_nccl(right, file):
        other = right if _names_nccl(left, file) else left
        yield _compared(node, other, says, _asked(node, operator, file), file)


@family.rule(403, "a choice of backends offers NCCL", ast.List, ast.Tuple, ast.Set, source=WHEEL)
def choices(node: ast.List | ast.Tuple | ast.Set, file: PythonFile) -> Iterator[Match]:
    if not any(_names_nccl(element, file) for element in node.elts) or _answered(node, file):
        return
    parent = file.parent(node)
    if isinstance(parent, ast.Compare):
        return
    of_type = isinstance(parent, ast.Subscript) and (file.name(parent.value) or "").endswith(
        ".Literal"
    )
    offers = of_type or (isinstance(parent, ast.keyword) and parent.arg == "choices")
    says = f"`{file.text(node)}` lists backends"
    sure = offers and _of_backends(node, file)
    confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
    fix = _one_more(node, file) if offers else None
    fix = fix if sure else unsafe(fix)
    yield Match(file.span(node), says, fix, "" if sure else 'add "hccl"', confidence=confidence)


@family.rule(
    404, "torch is asked whether it has NCCL", ast.Call, source=WHEEL,
    advice="ask for the backend of the machine's device",
)  # fmt: skip
def available(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    name = file.name(node.func) or ""
    if name not in (
        "torch.distributed.is_nccl_available",
        "torch.distributed.distributed_c10d.is_nccl_available",
    ):
        return
    fix = None
    if not file.setting.portable:
        fix = renamed(file, node.func, "torch.distributed.is_hccl_available")
    elif offered("torch.distributed.is_backend_available", file.setting.torch):
        backend = default_backend(file, node, "cuda")
        inside = file.arguments(node)
        if backend is not None:
            given = Fix((*backend.imports, Edit(inside.start, inside.start, backend.text)))
            fix = joined(given, renamed(file, node.func, "torch.distributed.is_backend_available"))
    yield Match(file.span(node), "false on Ascend: its backend is HCCL", fix)


@family.rule(
    405, "a name of torch is about NCCL", ast.Attribute, ast.Name, meaning=Meaning.MISSING,
    effort=Effort.M, source=WHEEL,
    advice="torch_npu._C._distributed_c10d.ProcessGroupHCCL is the counterpart of "
    "ProcessGroupNCCL; its Options differ (hccl_config)",
)  # fmt: skip
def of_torch(node: ast.Attribute | ast.Name, file: PythonFile) -> Iterator[Match]:
    name = file.name(node) or ""
    if not name.startswith("torch.") or not WORD.search(name) or name.startswith("torch.cuda."):
        return
    parent = file.parent(node)
    if isinstance(parent, ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return
    if _names_nccl(node, file) and (
        isinstance(parent, ast.Compare) or _is_backend(role(file, node), node, file)
    ):
        return  # it is a backend, and compared or handed on as one
    if name.endswith("is_nccl_available") and isinstance(parent, ast.Call):
        return
    meaning = Meaning.SIGNATURE if "ProcessGroupNCCL" in name else None
    yield Match(file.span(node), f"`{name}` is about NCCL", meaning=meaning)


@family.rule(
    406, "something about NCCL is imported", ast.ImportFrom, ast.Import, meaning=Meaning.MISSING,
    effort=Effort.M, advice="its uses are reported where they are",
)  # fmt: skip
def imported(node: ast.ImportFrom | ast.Import, file: PythonFile) -> Iterator[Match]:
    before = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
    for alias in node.names:
        dotted = f"{before}{alias.name}"
        if not WORD.search(dotted) or dotted.startswith("torch.cuda."):
            continue
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        theirs = relative or neighbours.own(file, dotted)
        harmless = theirs or dotted.endswith("is_nccl_available")
        of_torch = dotted.startswith("torch.") and not relative
        yield Match(
            file.span(alias),
            f"`{dotted}` is imported",
            meaning=Meaning.RUNS if harmless else None,
            effort=Effort.S if harmless else None,
            confidence=Confidence.CERTAIN if of_torch else Confidence.UNSURE,
        )


@family.rule(
    407, "a text says nccl", ast.Constant, meaning=Meaning.RUNS,
    advice="if it chooses or finds a backend, let it do so for HCCL too",
)  # fmt: skip
def mentioned(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or not WORD.search(node.value) or is_prose(file, node):
        return
    if "NCCL_" in node.value or file.formatted(node) is not None:
        return  # an environment variable
    if _names_nccl(node, file) or named_backend(node) == "cuda:nccl":
        _, parent = whole(file, node)
        if _is_backend(role(file, node), node, file):
            return
        if isinstance(parent, (ast.Compare, ast.List, ast.Tuple, ast.Set)):
            return
        match parent:
            case ast.Call(func=ast.Attribute(attr="startswith" | "endswith")):
                return
    says = f"{file.text(node)} speaks of NCCL"
    yield Match(file.span(node), says, confidence=Confidence.UNSURE)


@family.rule(
    408, "a name of the program's own speaks of NCCL", ast.Attribute, ast.arg, ast.keyword,
    ast.FunctionDef, ast.ClassDef, ast.Name, meaning=Meaning.RUNS,
    advice="if it is for NCCL only, let it allow for HCCL, or be off on Ascend",
)  # fmt: skip
def own(
    node: ast.Attribute | ast.arg | ast.keyword | ast.FunctionDef | ast.ClassDef | ast.Name,
    file: PythonFile,
) -> Iterator[Match]:
    match node:
        case ast.Attribute(attr=name) | ast.arg(arg=name) | ast.Name(id=name):
            pass
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            pass
        case ast.keyword():
            name = node.arg or ""
    if not WORD.search(name) or name.startswith(("NCCL_", "TORCH_NCCL_")):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        return  # said where it gets its meaning
    if isinstance(node, ast.Attribute) and (file.name(node) or "").startswith("torch."):
        return
    span = file.span(node)
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        start = file.source.text.index(name, span.start)
        span = Span(start, start + len(name))
    yield Match(span, f"`{name}` speaks of NCCL", confidence=Confidence.UNSURE)


def _compared(
    node: ast.expr, other: ast.expr, says: str, fix: Fix | None, file: PythonFile
) -> Match:
    """A finding of a comparison, whose fix is safe if the other side is surely a backend."""
    of_torch = _names_nccl(other, file) or (file.called(other) or "").startswith("torch.")
    sure = of_torch or BACKEND_NAME.search(last_name(other)) is not None
    sure = sure or (isinstance(node, ast.Compare) and _of_torch_name(node, file))
    return Match(
        file.span(node), says, fix if sure else unsafe(fix), advice="let it be HCCL too",
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
    )  # fmt: skip


def _of_torch_name(node: ast.Compare, file: PythonFile) -> bool:
    """Whether it is compared with torch.distributed.Backend.NCCL."""
    return any(isinstance(n, ast.Attribute) and _names_nccl(n, file) for n in ast.walk(node))


def _of_backends(node: ast.expr, file: PythonFile) -> bool:
    """Whether a list is what an option, a variable or a type of that name may be."""
    parent = file.parent(node)
    if isinstance(parent, ast.Subscript):
        outer = file.parent(parent)
        names: tuple[str, ...] = ()
        match outer:
            case ast.AnnAssign(target=target, annotation=annotation) if annotation is parent:
                names = (last_name(target),)
            case ast.arg(arg=name):
                names = (name,)
            case ast.Assign(targets=[target]):
                names = (last_name(target),)
        return any(BACKEND_NAME.search(name) for name in names)
    call = file.parent(parent) if parent is not None else None
    return isinstance(call, ast.Call) and any(
        BACKEND_NAME.search(str(arg.value)) for arg in call.args if isinstance(arg, ast.Constant)
    )


def _names_nccl(node: ast.AST, file: PythonFile) -> bool:
    match node:
        case ast.Constant(value=str(text)):
            return text.lower() == "nccl" or MIXED.fullmatch(text) is not None
        case ast.Attribute(attr="NCCL"):
            return (file.name(node) or "").endswith("Backend.NCCL")
    return False


def _is_backend(where: Role, node: ast.expr, file: PythonFile) -> bool:
    if any(BACKEND_NAME.search(name) for name in where.names):
        return True
    if where.call is None or where.place is None:
        return isinstance(node, ast.Constant) and named_backend(node) == "cuda:nccl"
    name = file.name(where.call.func) or ""
    if name in TAKERS:
        return TAKERS[name] == where.place
    return last_name(where.call.func) in ("init_process_group", "init_distributed") and (
        where.place == 0
    )


def _is_fallback(node: ast.expr, file: PythonFile) -> bool:
    """Whether it is chosen beside HCCL already: `"hccl" if npu else "nccl"`."""
    child, parent = node, file.parent(node)
    while isinstance(parent, (ast.IfExp, ast.BoolOp)):
        child, parent = parent, file.parent(parent)
    return child is not node and _answered(child, file)


def _backend_fix(node: ast.Constant | ast.Attribute, file: PythonFile) -> Fix | None:
    if isinstance(node, ast.Constant) and named_backend(node) == "cuda:nccl":
        return with_device(file, node)
    if isinstance(node, ast.Constant) and node.value != "nccl":
        return None
    if not file.setting.portable:
        quote = file.text(node)[-1] if isinstance(node, ast.Constant) else '"'
        return substituted(file, node, f"{quote}hccl{quote}")
    backend = default_backend(file, node, "cpu")
    if backend is None or (isinstance(node, ast.Constant) and len(file.literals(node)) > 1):
        return None
    return substituted(file, node, backend.text, *backend.imports)


def _answered(node: ast.AST, file: PythonFile) -> bool:
    """Whether HCCL is thought of in the same expression, or in one beside it."""
    parent = file.parent(node)
    nearby = list(parent.values) if isinstance(parent, ast.BoolOp) else [node]
    return any(
        isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.lower() == "hccl"
        for each in nearby
        for n in ast.walk(each)
    )


def _asked(node: ast.Compare, operator: ast.cmpop, file: PythonFile) -> Fix | None:
    left, right = node.left, node.comparators[0]
    text = left if _names_nccl(left, file) else right
    if not file.exact(text) or file.formatted(node) is not None or named_backend(text):
        return None
    if not file.setting.portable:
        return substituted(file, text, _hccl(text, file))
    if not isinstance(operator, (ast.Eq, ast.NotEq)) or text is not right:
        return None
    between = (file.span(left).end, file.span(text).start)
    sign = file.source.text[between[0] : between[1]]
    word, found = ("in", "==") if isinstance(operator, ast.Eq) else ("not in", "!=")
    pair = _either(text, file)
    if sign.strip() != found or pair is None:
        return None
    at = sign.find(found)
    start = between[0] + at
    spaced = f"{'' if at else ' '}{word}{'' if sign[at + 2 :] else ' '}"
    return Fix((Edit(start, start + 2, spaced), *pair.edits))


def _either(text: ast.expr, file: PythonFile) -> Fix | None:
    written = file.text(text)
    new = _hccl(text, file)
    return substituted(file, text, f"({written}, {new})" if file.setting.portable else new)


def _one_more(node: ast.List | ast.Tuple | ast.Set, file: PythonFile) -> Fix | None:
    nccl = next(e for e in node.elts if _names_nccl(e, file))
    if not file.exact(node) or named_backend(nccl):
        return None
    if not file.setting.portable:
        return substituted(file, nccl, _hccl(nccl, file))
    end = file.span(nccl).end
    return Fix((Edit(end, end, f", {_hccl(nccl, file)}"),))


def _hccl(node: ast.expr, file: PythonFile) -> str:
    """ "hccl" in the case and quotes in which `node` writes "nccl"."""
    if not isinstance(node, ast.Constant):
        return '"hccl"'
    return file.text(node).replace("nccl", "hccl").replace("NCCL", "HCCL")
