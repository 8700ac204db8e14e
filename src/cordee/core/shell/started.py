"""The programs that a script starts, each with its words as the shell would give them to it."""

import ast
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from cordee.core.errors import UsageError
from cordee.core.shell.branches import TESTS, Branches
from cordee.core.shell.words import Command, Word, commands, words_of

LOOPS = frozenset({"for", "while", "until", "case", "select"})
ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
BEFORE = frozenset({"do", "exec", "time", "nohup", "{", "!"})
EXPANSION = re.compile(
    r"\$\(\((?P<sum>[^()]*(?:\([^()]*\)[^()]*)*)\)\)"
    r"|\$\{(?P<array>\w+)\[[@*]\]\}"
    r"|\$\{(?P<braced>\w+)(?::?-(?P<usual>[^}]*))?\}"
    r"|\$(?P<plain>[A-Za-z_]\w*|\d)"
)
OPERATIONS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.floordiv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
SHELLS = frozenset({"bash", "sh", "zsh"})
TEXT = re.compile(r"-[a-z]*c")
"""The option behind which a shell's text stands, alone or with others."""
DEEPEST = 20
"""How often an expansion may lead to a further one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One program that a script starts."""

    words: tuple[str, ...]
    """Variables in their places; where a value is not known, as it is written."""
    line: int
    exported: Mapping[str, str]
    """The environment that it is given."""
    within: tuple[str, ...] = ()
    """Words before the shell whose text (`bash -c`) it stands in."""


@dataclass(slots=True, kw_only=True)
class Script:
    """What a script starts, and where that depends on what only its run knows."""

    text: str
    started: list[Started] = field(default_factory=list)
    conditions: list[int] = field(default_factory=list)
    """Lines with a condition that only the run knows, or a loop: both ways are read, one after the other."""

    def line_of(self, word: str) -> int:
        """The first line on which that word stands outside a comment; 0 where none does."""
        sought = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
        for number, line in enumerate(self.text.splitlines(), start=1):
            if sought.search(re.sub(r"(^|\s)#.*", "", line)):
                return number
        return 0


def script(text: str, where: str) -> Script:
    """Read a script. Raises `UsageError` where a quote is not closed."""
    found, scope = Script(text=text), _Scope()
    for command in commands(text, where):
        _read(command, found, scope)
    return found


def _read(command: Command, found: Script, scope: "_Scope") -> None:
    words = _branched(command, list(command.words), found, scope)
    while words and words[0].text in BEFORE:
        words = words[1:]
    first = words[0].text if words else ""
    if scope.branches.dead or (command.words and not words):
        return
    if first in LOOPS or first in TESTS:
        found.conditions.append(command.line)
    elif first in ("export", "declare", "local", "readonly") or not words:
        _learnt(command, words[1:], scope, exported=first == "export")
    elif len(words) < len(command.words) and ASSIGNED.match(first):
        # Behind `then`, an assignment is read as a word.
        name, _, value = first.partition("=")
        scope.learn(name, Word(value, words[0].expands, words[0].quoted), exported=False)
    else:
        started = _started(command, words, scope)
        if not _read_text(started, found, scope):
            found.started.append(started)


def _read_text(started: Started, found: Script, scope: "_Scope") -> bool:
    """Read what a shell is given as text, as in `srun bash -lc "..."`, if that is so."""
    words = started.words
    at = next((n for n, word in enumerate(words) if PurePosixPath(word).name in SHELLS), None)
    if at is None or len(words) < at + 3 or not TEXT.fullmatch(words[at + 1]):
        return False
    first = len(found.started)
    try:
        for command in commands(" ".join(words[at + 2 :]), "the text"):
            command.line += started.line - 1
            _read(command, found, scope)
    except UsageError:  # a quote that only a real shell would close
        del found.started[first:]
        return False
    inner = [replace(one, within=words[:at] + one.within) for one in found.started[first:]]
    found.started[first:] = inner
    return bool(inner)


def _branched(command: Command, words: list[Word], found: Script, scope: "_Scope") -> list[Word]:
    """Follow `if` and its kin; what is left of the command."""
    first, branches = words[0].text if words else "", scope.branches
    if first == "if":
        if not branches.begin([scope.value(word) for word in words[1:]]):
            found.conditions.append(command.line)
    elif first in ("elif", "else"):
        asked = [scope.value(word) for word in words[1:]] if first == "elif" else None
        branches.otherwise(asked)
    elif first == "fi":
        branches.end()
    elif first == "then":
        branches.then()
    elif branches.goes_on() and command.line not in found.conditions:
        found.conditions.append(command.line)
    if first in ("then", "else"):
        return words[1:]
    return [] if first in ("if", "elif", "fi") or branches.asks else words


def _learnt(command: Command, words: Sequence[Word], scope: "_Scope", *, exported: bool) -> None:
    for name, word in command.assignments:
        scope.learn(name, word, exported=exported)
    for word in words:
        name, equals, value = word.text.partition("=")
        if equals:
            scope.learn(name, Word(value, word.expands, word.quoted), exported=exported)
        elif exported:
            scope.exported.add(name)


def _started(command: Command, words: Sequence[Word], scope: "_Scope") -> Started:
    own = {name: scope.value(word) for name, word in command.assignments}
    spread = tuple(scope.spread(words))
    while spread and (spread[0] == "env" or ASSIGNED.match(spread[0])):
        name, equals, value = spread[0].partition("=")
        own |= {name: value} if equals else {}
        spread = spread[1:]
    return Started(words=spread, line=command.line, exported=scope.environment() | own)


class _Scope:
    """Variables as they stand while a script is read."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.arrays: dict[str, list[str]] = {}
        self.exported: set[str] = set()
        self.branches = Branches()

    def learn(self, name: str, word: Word, *, exported: bool) -> None:
        plain, bracket, added = name.partition("[]")
        if bracket:
            before = self.arrays.get(plain, []) if added else []
            self.arrays[plain] = before + list(self.spread(words_of(word.text)))
            return
        own = re.compile(rf"\$\{{?{re.escape(name)}\b")
        if own.search(word.text) and name not in self.values and ":-" not in word.text:
            return  # PATH=$PATH:... adds to what only the run knows
        self.values[name] = self.value(word)
        if exported:
            self.exported.add(name)

    def environment(self) -> dict[str, str]:
        return {name: self.values[name] for name in self.exported if name in self.values}

    def value(self, word: Word) -> str:
        """One word, however many blanks its variables hold."""
        return self._expanded(word.text) if word.expands else word.text

    def spread(self, words: Sequence[Word]) -> Iterator[str]:
        """Words, with those of several that a variable or an array holds."""
        for word in words:
            whole = EXPANSION.fullmatch(word.text) if word.expands else None
            if whole and whole["array"] and whole["array"] in self.arrays:
                for item in self.arrays[whole["array"]]:
                    yield from [item] if word.quoted and not item.startswith("--") else _split(item)
            elif word.expands and (not word.quoted or (whole and "--" in self.value(word))):
                yield from _split(self.value(word))
            else:
                yield self.value(word)

    def _expanded(self, text: str, depth: int = 0) -> str:
        return EXPANSION.sub(lambda match: self._one(match, depth), text)

    def _one(self, match: re.Match[str], depth: int) -> str:
        if depth > DEEPEST:
            return match[0]
        if match["sum"] is not None:
            bare = re.sub(r"(?<![\w$])([A-Za-z_]\w*)", r"$\1", match["sum"])
            total = _sum(self._expanded(bare, depth + 1))
            return match[0] if total is None else str(total)
        if match["array"]:
            name = match["array"]
            # Of a plain variable, all its items are its value.
            return (
                " ".join(self.arrays[name])
                if name in self.arrays
                else self.values.get(name, match[0])
            )
        name = match["braced"] or match["plain"]
        if name in self.arrays and name not in self.values:
            return self.arrays[name][0] if self.arrays[name] else ""
        if name in self.values:
            return self.values[name]
        usual = match["usual"]
        return match[0] if usual is None else self._expanded(usual.strip("\"'"), depth + 1)


def _split(text: str) -> list[str]:
    """At blanks; what could not be replaced stays whole."""
    return re.findall(r"(?:\$\([^)]*\)|'[^']*'|[^\s])+", text)


def _sum(text: str) -> int | None:
    """What shell arithmetic makes of it; None where that is not known."""
    try:
        return _reckoned(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None


def _reckoned(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        done = OPERATIONS[type(node.op)](_reckoned(node.left), _reckoned(node.right))
        return int(done)
    raise ValueError(ast.dump(node))
