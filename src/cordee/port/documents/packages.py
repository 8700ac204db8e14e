"""The packages that pyproject.toml, setup.cfg, Pipfile and conda's environments ask for."""

from collections.abc import Iterator, Sequence

from cordee.port.documents.entries import Entry
from cordee.port.documents.requirement import Requirement, conda_requirement, pip_requirement
from cordee.port.python.file import Span
from cordee.port.source import Source

LISTS = frozenset({
    "dependencies", "optional-dependencies", "dependency-groups", "requires", "dev-dependencies",
    "extra-dependencies", "constraint-dependencies", "override-dependencies", "requirements",
    "install_requires", "setup_requires", "tests_require", "options.extras_require", "deps", "pip",
    "extra_requires", "extras_require", "pip_packages", "python_packages", "additional_dependencies",
})  # fmt: skip
TABLES = frozenset({"dependencies", "dev-dependencies", "packages", "dev-packages"})


def requirements(kind: str, source: Source, entries: Sequence[Entry]) -> Iterator[Requirement]:
    """Every package that an entry asks for."""
    for entry in entries:
        if entry.value and entry.inner is not None and len(entry.path) > 1:
            found = _requirement(kind, source, entry)
            if found is not None:
                yield found


def _requirement(kind: str, source: Source, entry: Entry) -> Requirement | None:
    assert entry.inner is not None
    value = entry.value or ""
    above, last = entry.path[-2], entry.path[-1]
    listed = isinstance(last, int) or (kind == "ini" and isinstance(last, str))
    if listed and kind == "yaml" and above == "dependencies" and len(entry.path) == 2:
        return conda_requirement(value, entry.inner.start, source.text)
    if listed and LISTS.intersection(entry.keys[-3:]) and ":" not in value.partition("@")[0]:
        return pip_requirement(value, entry.inner.start, _another(kind, source, entry), source.text)
    if kind == "toml" and isinstance(last, str) and above in TABLES:
        return _row(entry, last, value, source)
    if kind == "toml" and isinstance(last, int) and entry.path[-3:-2] and entry.path[-4:-3]:
        name = entry.path[-3]
        if entry.path[-4] in TABLES and entry.path[-2] == "version" and isinstance(name, str):
            return _row(entry, name, value, source)
    return None


def _row(entry: Entry, name: str, value: str, source: Source) -> Requirement:
    """`name = "versions"`."""
    span = Span(entry.key_span.start, entry.span.end) if entry.key_span else entry.span
    text = source.text[span.start : span.end]
    exact = f"=={value}" if value[:1].isdigit() else value
    name = name.lower().replace("_", "-").replace(".", "-")
    return Requirement(name, exact, frozenset(), text, span, "poetry", "", "", source.text)


def _another(kind: str, source: Source, entry: Entry) -> str:
    line, column = source.position(entry.span.start)
    head = source.line(line)[: column - 1]
    alone = not head.strip(" \t-") and isinstance(entry.path[-1], int)
    if kind == "ini" and alone:
        return f"{source.newline}{head}{{requirement}}"
    if kind == "yaml" and head.strip() == "-":
        quote = entry.quote
        return f"{quote}{source.newline}{head}{quote}{{requirement}}"
    if kind in ("toml", "json") and entry.quote:
        quote = entry.quote
        between = f",{source.newline}{head}" if alone else ", "
        return f"{quote}{between}{quote}{{requirement}}"
    return ""
