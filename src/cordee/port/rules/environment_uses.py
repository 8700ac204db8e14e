"""NV42: environment variables of NVIDIA's software that Python sets, reads and names."""

import ast
import re
from collections.abc import Iterator

from cordee.port.finding import Confidence, Edit, Fix, Meaning, Safety
from cordee.port.python.environ import Access, Way, access
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import substituted
from cordee.port.python.prose import is_prose
from cordee.port.rule import Family, Match
from cordee.port.rules.environment import Translation, translation

NAME = re.compile(r"[A-Z][A-Z0-9_]*_[A-Z0-9_]*[A-Z0-9]|CUDACXX|CUDAARCHS")
# In a command: NAME=value, $NAME, ${NAME, and behind unset and export.
IN_COMMAND = re.compile(r"(?:\$\{?|\b)([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=|\b)")
HINTS = ("cuda", "nccl", "nvidia", "cublas", "cudnn", "nvte_", "nvshmem_", "nvcc_", "nvtx_",
         "tf32", "ds_accelerator")  # fmt: skip
family = Family("environment_uses", "Environment variables in Python", HINTS)


@family.rule(421, "an environment variable of NVIDIA's is set", ast.Constant, ast.keyword)
def written(node: ast.Constant | ast.keyword, file: PythonFile) -> Iterator[Match]:
    for found, there in _accesses(node, file, Way.WRITE):
        fix = None if _thought_of(found, file) else _set(node, there, found, file)
        yield _match(node, found, fix, file)


@family.rule(422, "an environment variable of NVIDIA's is read", ast.Constant)
def read(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    for found, there in _accesses(node, file, Way.READ):
        fix = None if _thought_of(found, file) else _read(node, there, found, file)
        yield _match(node, found, fix, file)


@family.rule(
    423, "an environment variable of NVIDIA's is named", ast.Constant,
    advice="see what is done with it",
)  # fmt: skip
def named(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    for found, _ in _accesses(node, file, Way.OTHER):
        if is_prose(file, node) or _thought_of(found, file):
            continue
        sure = found.confidence is Confidence.CERTAIN
        confidence = Confidence.LIKELY if sure else Confidence.UNSURE
        yield Match(
            file.span(node), found.says, advice=found.advice, meaning=found.meaning,
            effort=found.effort, confidence=confidence, source=found.source,
        )  # fmt: skip


@family.rule(
    424, "a command speaks of environment variables of NVIDIA's", ast.Constant,
    advice="set Ascend's beside them",
)  # fmt: skip
def in_command(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if not isinstance(node.value, str) or NAME.fullmatch(node.value) or is_prose(file, node):
        return
    names = dict.fromkeys(match[1] for match in IN_COMMAND.finditer(node.value))
    for name in names:
        found = translation(name, None)
        if found is None or (found.name and found.name in file.source.text):
            continue
        yield Match(
            file.span(node), found.says, advice=found.advice, meaning=found.meaning,
            effort=found.effort, confidence=Confidence.LIKELY, source=found.source,
        )  # fmt: skip


def _accesses(
    node: ast.Constant | ast.keyword, file: PythonFile, way: Way
) -> Iterator[tuple[Translation, Access]]:
    name = node.arg if isinstance(node, ast.keyword) else node.value
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        return
    if translation(name, None) is None:
        return
    there = access(file, node)
    if there.way is not way or (isinstance(node, ast.Constant) and file.formatted(node)):
        return
    found = translation(name, _literal(there.value))
    assert found is not None
    yield found, there


def _match(
    node: ast.Constant | ast.keyword, found: Translation, fix: Fix | None, file: PythonFile
) -> Match:
    return Match(
        file.span(node), found.says, fix, advice="" if fix else found.advice,
        meaning=Meaning.RUNS if _thought_of(found, file) else found.meaning, effort=found.effort,
        confidence=found.confidence, source=found.source,
    )  # fmt: skip


def _thought_of(found: Translation, file: PythonFile) -> bool:
    """Whether the file names the counterpart as well."""
    text = file.source.text
    ways = (f'"{found.name}"', f"'{found.name}'", f"{found.name}=")
    return bool(found.name) and any(way in text for way in ways)


def _literal(value: ast.expr | None) -> str | None:
    match value:
        case ast.Constant(value=str(text)):
            return text
        case ast.Call(func=ast.Name(id="str"), args=[ast.Constant(value=int(number))]):
            return str(number)
    return None


def _set(
    node: ast.Constant | ast.keyword, there: Access, found: Translation, file: PythonFile
) -> Fix | None:
    """Ascend's variable set beside CUDA's, or in its place."""
    written = _value(there.value, found, file)
    if not found.name or found.kept or written is None or not _plain(node, file):
        return None
    text, safety = written
    if not file.setting.portable:
        return _in_its_place(node, there, found.name, text, safety, file)
    same = there.value is not None and text == file.text(there.value)
    match there.statement:
        case ast.Assign(targets=[ast.Subscript() as target]) if same and file.exact(target):
            end = file.span(target).end
            again = _renamed_in(file, target, node, found.name)
            return Fix((Edit(end, end, f" = {again}"),), safety)
        case ast.Assign(targets=[ast.Subscript() as target]) as statement:
            line = f"{_renamed_in(file, target, node, found.name)} = {text}"
            return _line_below(file, statement, line, safety)
        case ast.Expr(value=ast.Call() as call) as statement if _cheap(there.value):
            line = _renamed_in(file, call, node, found.name, there.value, text)
            return _line_below(file, statement, line, safety)
        case ast.Dict() if _cheap(there.value) and isinstance(node, ast.Constant):
            assert there.value is not None
            end = file.span(there.value).end
            quote = file.text(node)[-1]
            return Fix((Edit(end, end, f", {quote}{found.name}{quote}: {text}"),), safety)
        case ast.Call() if _cheap(there.value) and isinstance(node, ast.keyword):
            end = file.span(node).end
            return Fix((Edit(end, end, f", {found.name}={text}"),), safety)
    return None


def _value(
    value: ast.expr | None, found: Translation, file: PythonFile
) -> tuple[str, Safety] | None:
    """How the counterpart's value is written, and how sure it is."""
    if value is None:
        return None
    if found.value is not None:
        literal = _literal(value)
        if found.value == literal:
            return file.text(value), found.safety
        quote = file.text(value)[-1] if isinstance(value, ast.Constant) else '"'
        return f"{quote}{found.value}{quote}", found.safety
    if _literal(value) is not None:
        return None
    if found.same:
        return file.text(value), Safety.SAFE
    # What chooses devices is most likely their numbers.
    return (file.text(value), Safety.UNSAFE) if "VISIBLE" in found.name else None


def _in_its_place(
    node: ast.Constant | ast.keyword,
    there: Access,
    name: str,
    text: str,
    safety: Safety,
    file: PythonFile,
) -> Fix | None:
    edits = [_name_edit(node, name, file)]
    if there.value is not None and text != file.text(there.value):
        span = file.span(there.value)
        edits.append(Edit(span.start, span.end, text))
    return Fix(tuple(edits), safety)


def _read(node: ast.Constant, there: Access, found: Translation, file: PythonFile) -> Fix | None:
    if not found.name or found.kept or not _plain(node, file):
        return None
    devices = "VISIBLE" in found.name
    if not (found.same or devices):
        return None
    safety = Safety.SAFE if found.same else Safety.UNSAFE
    if not file.setting.portable:
        return Fix((_name_edit(node, found.name, file),), safety)
    match there.statement:
        case ast.Call(args=[first]) as call if first is node and not call.keywords:
            # Whichever is set: on NVIDIA Ascend's is not, and so nothing changes there.
            again = _renamed_in(file, call, node, found.name)
            fix = substituted(file, call, f"{again[:-1]}, {file.text(call)})")
            return fix and Fix(fix.edits, Safety.UNSAFE)
        case ast.Call(args=[first, second]) as call if first is node and _cheap(second):
            again = _renamed_in(file, call, node, found.name, second, file.text(call))
            fix = substituted(file, call, again)
            return fix and Fix(fix.edits, Safety.UNSAFE)
    return None


def _name_edit(node: ast.Constant | ast.keyword, name: str, file: PythonFile) -> Edit:
    span = file.span(node)
    if isinstance(node, ast.keyword):
        assert node.arg is not None
        return Edit(span.start, span.start + len(node.arg), name)
    quote = file.text(node)[-1]
    return Edit(span.start, span.end, f"{quote}{name}{quote}")


def _renamed_in(
    file: PythonFile,
    whole: ast.expr,
    node: ast.Constant | ast.keyword,
    name: str,
    value: ast.expr | None = None,
    text: str = "",
) -> str:
    """The text of `whole` with another name in place of `node`, and another value."""
    base = file.span(whole).start
    edits = [_name_edit(node, name, file)]
    if value is not None:
        span = file.span(value)
        edits.append(Edit(span.start, span.end, text))
    result = file.text(whole)
    for edit in sorted(edits, reverse=True):
        result = result[: edit.start - base] + edit.text + result[edit.end - base :]
    return result


def _line_below(file: PythonFile, statement: ast.stmt, line: str, safety: Safety) -> Fix | None:
    """One line more behind a statement that has its lines for itself."""
    span = file.span(statement)
    number, column = file.source.position(span.start)
    before = file.source.line(number)[: column - 1]
    last, end = file.source.position(span.end)
    rest = file.source.line(last)[end - 1 :]
    if before.strip() or (rest.strip() and not rest.lstrip().startswith("#")) or "#" in line:
        return None
    at = file.source.line_starts[last - 1] + len(file.source.line(last))
    return Fix((Edit(at, at, f"{file.source.newline}{before}{line}"),), safety)


def _plain(node: ast.Constant | ast.keyword, file: PythonFile) -> bool:
    """Whether a name is written as one literal without a prefix."""
    if isinstance(node, ast.keyword):
        return True
    pieces = file.literals(node)
    return len(pieces) == 1 and not pieces[0].prefix and len(pieces[0].quote) == 1


def _cheap(value: ast.expr | None) -> bool:
    """Whether an expression can be evaluated twice."""
    return isinstance(value, (ast.Constant, ast.Name)) or _literal(value) is not None
