"""Reads YAML and knows its places; templates that are no YAML are read line by line."""

import re
from collections.abc import Iterator

import yaml

from cordee.port.documents.entries import Entry, Path
from cordee.port.python.file import Span
from cordee.port.source import Source

LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LINE = re.compile(
    r"(?P<indent>[ \t]*)(?P<dashes>(?:-[ \t]+)*)"
    r"(?:(?P<quote>['\"]?)(?P<key>[\w./${}][\w./${} \-]*?)(?P=quote)[ \t]*:(?=[ \t\r]|$))?"
    r"[ \t]*(?P<value>.*?)[ \t\r]*$"
)
SCALAR = re.compile(r"\"(?P<double>[^\"\\]*)\"|'(?P<single>[^']*)'|(?P<plain>[^#]*?)(?=\s+#|\s*$)")
COMMENT = re.compile(r"(?:^|(?<=\s))#[^\n]*")
BLOCK = re.compile(r"[|>][+\-\d]*$")


def entries(source: Source) -> list[Entry]:
    """Every scalar and every key."""
    try:
        found: list[Entry] = []
        for number, root in enumerate(yaml.compose_all(source.text, LOADER)):
            _node(source, root, (), None, found, set())
            if number > 1000:
                break
    except (yaml.YAMLError, ValueError, RecursionError):
        return list(_lines(source))
    return found


def comments(source: Source, blocks: list[Span]) -> Iterator[Span]:
    """Comments, those apart that stand in texts over lines."""
    for match in COMMENT.finditer(source.text):
        if not any(block.start <= match.start() < block.end for block in blocks):
            yield Span(match.start(), match.end())


def _node(
    source: Source,
    node: yaml.Node,
    path: Path,
    key: Span | None,
    found: list[Entry],
    seen: set[int],
) -> None:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    span = Span(_offset(source, node.start_mark), _offset(source, node.end_mark))
    if isinstance(node, yaml.ScalarNode):
        found.append(_scalar(source, node, path, span, key))
        return
    if key is not None:
        found.append(Entry(path, None, span, None, key))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _node(source, item, (*path, number), None, found, seen)
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            place = _key(source, name)
            _node(source, value, (*path, str(name.value)), place, found, seen)


def _key(source: Source, name: yaml.Node) -> Span:
    span = Span(_offset(source, name.start_mark), _offset(source, name.end_mark))
    quoted = isinstance(name, yaml.ScalarNode) and name.style in ("'", '"')
    return Span(span.start + 1, span.end - 1) if quoted else span


def _scalar(
    source: Source, node: yaml.ScalarNode, path: Path, span: Span, key: Span | None
) -> Entry:
    style = node.style or ""
    inner = Span(span.start + 1, span.end - 1) if style in ("'", '"') else span
    same = style not in ("|", ">") and source.text[inner.start : inner.end] == node.value
    return Entry(
        path,
        node.value,
        span,
        inner if same else None,
        key,
        style if style in ("'", '"') else "",
        style if style in ("|", ">") else "",
    )


def _offset(source: Source, mark: yaml.Mark) -> int:
    line, column = int(mark.line), int(mark.column)
    start = source.line_starts[min(line, len(source.line_starts) - 1)]
    return min(start + column, len(source.text))


def _lines(source: Source) -> Iterator[Entry]:
    """What each line of a template says, by its indentation."""
    above: list[tuple[int, str]] = []
    number, last = 0, len(source.line_starts)
    while number < last:
        number += 1
        text = source.line(number)
        match = LINE.match(text)
        if (
            match is None
            or not text.strip()
            or text.lstrip()[0] in "#%"
            or text.strip()[:2] == "{{"
        ):
            continue
        depth = len(match["indent"]) + len(match["dashes"])
        while above and above[-1][0] >= depth + (0 if match["key"] else 1):
            above.pop()
        start = source.line_starts[number - 1]
        path = tuple(name for _, name in above)
        if match["key"]:
            path = (*path, match["key"])
            above.append((depth, match["key"]))
        key = Span(start + match.start("key"), start + match.end("key")) if match["key"] else None
        if BLOCK.search(match["value"]) and key:
            end = _block_end(source, number, len(match["indent"]))
            span = Span(start + match.start("value"), end)
            style = match["value"].strip()[-1:] if match["value"] else ""
            block = ">" if ">" in match["value"] or style == ">" else "|"
            yield Entry(path, source.text[span.start : end], span, None, key, "", block)
            number = source.position(max(end - 1, span.start))[0]
            continue
        yield _written(source, start + match.start("value"), match["value"], path, key)


def _written(source: Source, at: int, written: str, path: Path, key: Span | None) -> Entry:
    match = SCALAR.match(written)
    if match is None or not written:
        return Entry(path, None, Span(at, at + len(written)), None, key)
    group = match.lastgroup or "plain"
    inner = Span(at + match.start(group), at + match.end(group))
    quote = {"double": '"', "single": "'"}.get(group, "")
    return Entry(path, match[group], Span(at, at + match.end()), inner, key, quote)


def _block_end(source: Source, number: int, indent: int) -> int:
    """Where the text over lines ends that begins on the line behind `number`."""
    while number < len(source.line_starts):
        text = source.line(number + 1)
        if text.strip() and len(text) - len(text.lstrip()) <= indent:
            break
        number += 1
    return source.line_starts[number] if number < len(source.line_starts) else len(source.text)
