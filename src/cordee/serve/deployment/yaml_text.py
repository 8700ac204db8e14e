"""A YAML text that is to say something else, changed in as few places as that takes: comments and layout stay."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import yaml

PREFIX = re.compile(r"(&\S+\s+|!\S+\s+)*")
"""What may stand before a value: its anchor and its tag."""
LONGEST = 100
"""Letters of a list in brackets that stays one."""
ENDLESS = 1_000_000
RARE_BREAKS = {"\x85", "\u2028", "\u2029"}
"""Characters that end a line in YAML 1.1, besides those of all texts."""
MERGE = "tag:yaml.org,2002:merge"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Items of lists are further in than their key, and texts of several lines are written as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    if RARE_BREAKS & {*value}:  # lines would be joined there
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


class _Odd(Exception):
    """This layout is not changed in places."""


def rewritten(text: str, documents: Sequence[object]) -> str:
    """The text with these documents in it. Written anew where its layout is too odd for less."""
    whole = text if text.endswith("\n") else text + "\n"
    try:
        edited = _edited(whole, documents)
        if list(yaml.safe_load_all(edited)) == list(documents):
            return edited if whole == text else edited.removesuffix("\n")
    except (_Odd, yaml.YAMLError, ValueError):
        pass
    made: str = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return made


def _edited(text: str, documents: Sequence[object]) -> str:
    edits = _Edits(text)
    nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    old = list(yaml.safe_load_all(text))
    if len(nodes) != len(documents):
        raise _Odd
    for node, before, after in zip(nodes, old, documents, strict=True):
        edits.differ(node, before, after)
    return edits.done()


@dataclass(slots=True)
class _Edits:
    """What is to change in one text, by the places of its nodes."""

    text: str
    _edits: list[tuple[int, int, str]] = field(default_factory=list)

    def done(self) -> str:
        """The text with all of it. Two of the same place are told once."""
        out, at = "", 0
        for start, end, new in sorted(dict.fromkeys(self._edits), key=lambda e: (e[0], e[1])):
            if start < at:
                raise _Odd
            out, at = out + self.text[at:start] + new, end
        return out + self.text[at:]

    def differ(self, node: yaml.Node, old: object, new: object) -> None:
        """Let a node of a mapping or a list, or a document, say `new`."""
        if old == new:
            return
        block = not getattr(node, "flow_style", True)
        if isinstance(node, yaml.MappingNode) and block and _both(old, new, dict) and new:
            self._mapping(node, old, new)  # type: ignore[arg-type]
        elif isinstance(node, yaml.SequenceNode) and block and _both(old, new, list) and new:
            self._sequence(node, old, new)  # type: ignore[arg-type]
        else:
            self._put(node, new)

    def _put(self, node: yaml.Node, new: object) -> None:
        """In the place of a node that is no block."""
        inline = _inline(new)
        if not getattr(node, "flow_style", True) or getattr(node, "style", "") in ("|", ">"):
            raise _Odd
        start = self._start(node)
        if "\n" in inline or (isinstance(new, dict | list) and len(inline) > LONGEST):
            raise _Odd
        space = "" if self.text[start - 1 : start].isspace() else " "
        self._edits.append((start, node.end_mark.index, space + inline))

    def _mapping(
        self, node: yaml.MappingNode, old: Mapping[object, object], new: Mapping[object, object]
    ) -> None:
        entries = {_key(key): (key, value) for key, value in node.value if key.tag != MERGE}
        firsts = [key.start_mark.index for key, _ in node.value]
        at = self._before(node)
        column = node.value[0][0].start_mark.column
        for name, value in new.items():
            if name not in entries:
                if name not in old or old[name] != value:  # else it is merged into it
                    self._edits.append((at, at, _entry(name, value, column)))
                continue
            key, inner = entries[name]
            at = self._line_after(self._ends(key, inner))
            if old[name] != value:
                self._value(key, inner, old[name], value)
        for name, (key, inner) in entries.items():
            if name not in new:
                self._remove(key, inner, firsts)

    def _before(self, node: yaml.MappingNode) -> int:
        """Where an entry goes that is to be the first one; behind the first where that begins a list's item."""
        start = node.value[0][0].start_mark.index
        line = self._line(start)
        return (
            self._line_after(self._ends(*node.value[0])) if self.text[line:start].strip() else line
        )

    def _value(self, key: yaml.Node, node: yaml.Node, old: object, new: object) -> None:
        alias = node.start_mark.index < key.start_mark.index
        mark = len(self._edits)
        if not alias:
            with suppress(_Odd):
                self.differ(node, old, new)
                return
            del self._edits[mark:]
        end = self._ends(key, node)
        rest = _entry(_key(key), new, key.start_mark.column)
        after = self.text[end : self._line_after(end) - 1]
        if after.strip() and "\n" not in rest[:-1]:
            rest = rest[:-1] + after + "\n"
        self._edits.append((key.start_mark.index, self._line_after(end), rest.lstrip(" ")))

    def _remove(self, key: yaml.Node, node: yaml.Node, firsts: Sequence[int]) -> None:
        start = key.start_mark.index
        line = self._line(start)
        if self.text[line:start].strip():  # it stands behind the dash of a list
            later = [other for other in firsts if other > start]
            if not later:
                raise _Odd
            self._edits.append((start, later[0], ""))
            return
        self._edits.append((line, self._line_after(self._ends(key, node)), ""))

    def _sequence(
        self, node: yaml.SequenceNode, old: Sequence[object], new: Sequence[object]
    ) -> None:
        dashes = [self._dash(item) for item in node.value]
        column = dashes[0] - self._line(dashes[0])
        ends = [self._line_after(self._end(item)) for item in node.value]
        starts = [self._line(dash) for dash in dashes]
        shown = [
            [json.dumps(item, default=str, sort_keys=True) for item in side] for side in (old, new)
        ]
        for _, i, i_end, j, j_end in _changes(*shown):
            pairs = min(i_end - i, j_end - j)
            for step in range(pairs):
                self._item(node.value[i + step], old[i + step], new[j + step], column)
            for gone in range(i + pairs, i_end):
                self._edits.append((starts[gone], ends[gone], ""))
            at = ends[i + pairs - 1] if i + pairs else starts[0]
            for more in range(j + pairs, j_end):
                self._edits.append((at, at, _listed(new[more], column)))

    def _item(self, node: yaml.Node, old: object, new: object, column: int) -> None:
        mark = len(self._edits)
        try:
            self.differ(node, old, new)
        except _Odd:
            del self._edits[mark:]
            start, end = self._line(self._dash(node)), self._line_after(self._end(node))
            self._edits.append((start, end, _listed(new, column)))

    def _dash(self, item: yaml.Node) -> int:
        start = item.start_mark.index
        at = self.text.rfind("-", 0, start)
        if at < 0 or self.text[at + 1 : start].strip() or self.text[self._line(at) : at].strip():
            raise _Odd
        return at

    def _start(self, node: yaml.Node) -> int:
        """Of a value, behind its anchor and tag."""
        start = node.start_mark.index
        found = PREFIX.match(self.text, start, node.end_mark.index)
        return found.end() if found else start

    def _ends(self, key: yaml.Node, node: yaml.Node) -> int:
        """Where an entry of a mapping ends."""
        if node.start_mark.index < key.start_mark.index:  # an alias: what it stands for is above
            end = self.text.find("\n", key.end_mark.index)
            return end if end >= 0 else len(self.text)
        return max(self._end(node), self.text.find(":", key.end_mark.index) + 1)

    def _end(self, node: yaml.Node) -> int:
        start: int = node.start_mark.index
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._ends(*last) if isinstance(last, tuple) else self._end(last)
        end: int = node.end_mark.index
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            return start + len(self.text[start:end].rstrip())
        return end

    def _line(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _line_after(self, at: int) -> int:
        end = self.text.find("\n", at)
        return end + 1 if end >= 0 else len(self.text)


def _both(old: object, new: object, kind: type) -> bool:
    return isinstance(old, kind) and isinstance(new, kind)


def _changes(old: list[str], new: list[str]) -> Iterator[tuple[str, int, int, int, int]]:
    matcher = SequenceMatcher(a=old, b=new, autojunk=False)
    return (change for change in matcher.get_opcodes() if change[0] != "equal")


def _key(node: yaml.Node) -> object:
    return yaml.constructor.SafeConstructor().construct_object(node)


def _dumped(value: object, **form: object) -> str:
    made = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=ENDLESS, **form
    )
    return str(made)


def _inline(value: object) -> str:
    if isinstance(value, dict | list):
        return _dumped([value], default_flow_style=True)[1:-2]
    return _dumped({"": value}).partition(": ")[2].rstrip("\n")


def _entry(key: object, value: object, column: int) -> str:
    return _indented(_dumped({key: value}), column)


def _listed(value: object, column: int) -> str:
    return _indented(_dumped([value]), column)


def _indented(text: str, column: int) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(" " * column + line if line.strip() else line for line in lines)
