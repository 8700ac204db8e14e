"""Reads shell: words, quotes, comments, line continuations, here-documents; it fails on nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from cordee.port.documents.words import Assignment, Command, Directive, Script, Word
from cordee.port.python.file import Span

BLANK = re.compile(r"(?:[ \t]|\\\r?\n)+")
ENDS = frozenset(";&|()\n\r")
STOPS = ENDS | frozenset(" \t<>")
ASSIGNED = re.compile(r"([A-Za-z_]\w*)(\[[^\]]*\])?\+?=")
DIRECTIVE = re.compile(r"#(SBATCH|PBS|BSUB|LSF|\$)[ \t]")
HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)([\w.]+)\1")
REDIRECTION = re.compile(r"\d*(?:<<<|>>|>&|<&|&>>|&>|<>|>\||<|>)[ \t]*")
PYTHON = re.compile(r"\bpython[\d.]*\b[^|;&]*<<")
SHELL = re.compile(r"\b(?:ba|z|k)?sh\b|\bsbatch\b|\bssh\b|\.slurm\b")
KEYWORDS = frozenset({
    "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "for", "in", "!", "{", "}",
})  # fmt: skip
EXPORTS = frozenset({"export", "declare", "typeset", "local", "readonly"})
STARTERS = frozenset(
    {"docker", "podman", "nerdctl", "mpirun", "mpiexec", "singularity", "apptainer"}
)
PASSING = frozenset({"-e", "--env", "-x", "--build-arg"})
RUNNING = frozenset({"-c", "-lc", "-ec", "-xc", "eval", "--wrap"})
DEEPEST = 6


@dataclass(slots=True)
class _Reader:
    text: str
    end: int
    depth: int
    script: Script
    words: list[Word] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)  # ends of here-documents
    nested: list[Span] = field(default_factory=list)

    def read(self, at: int) -> None:
        while at < self.end:
            at = self._step(at)
        self._finish()

    def _step(self, at: int) -> int:
        text, character = self.text, self.text[at]
        if blank := BLANK.match(text, at, self.end):
            return blank.end()
        if character == "#":
            return self._comment(at)
        if heredoc := HEREDOC.match(text, at, self.end):
            self.pending.append(heredoc[2])
            return heredoc.end()
        if redirection := REDIRECTION.match(text, at, self.end):
            return self._redirected(redirection.end())
        if character in ENDS:
            self._finish()
            return self._bodies(at + 1) if character == "\n" and self.pending else at + 1
        word = self._word(at)
        if not (not self.words and word.value in KEYWORDS):
            self.words.append(word)
        return max(word.span.end, at + 1)

    def _comment(self, at: int) -> int:
        end = _line_end(self.text, at, self.end)
        if DIRECTIVE.match(self.text, at, end) and not self.words:
            words = _directive(self.text, at + 1, end)
            self.script.nodes.append(Directive(words, Span(at, end)))
        self.script.quiet.append(Span(at, end))
        return end

    def _redirected(self, at: int) -> int:
        if at < self.end and self.text[at] not in ENDS:
            return max(self._word(at).span.end, at)
        return at

    def _bodies(self, at: int) -> int:
        """Behind the here-documents that began on the line before."""
        opening = self.text[self.text.rfind("\n", 0, at - 1) + 1 : at]
        for word in self.pending:
            start = at
            while at < self.end:
                end = _line_end(self.text, at, self.end)
                line = self.text[at:end]
                if line.strip() == word:
                    self._body(opening, Span(start, at))
                    at = min(end + 1, self.end)
                    break
                at = min(end + 1, self.end)
        self.pending.clear()
        return at

    def _body(self, opening: str, body: Span) -> None:
        if PYTHON.search(opening):
            self.script.python.append(body)
        elif self.depth < DEEPEST and (SHELL.search(opening) or opening.lstrip().startswith("<<")):
            read(self.text, body.start, body.end, self.depth + 1, self.script)

    def _word(self, at: int) -> Word:
        start, value, literal = at, [], True
        while at < self.end and self.text[at] not in STOPS:
            piece, at, plain = self._piece(at)
            value.append(piece)
            literal = literal and plain
            if self.text[at : at + 1] == "(" and ASSIGNED.fullmatch(self.text, start, at):
                opening = at + 1
                at = _closing(self.text, opening, self.end, "(", ")")
                self._inner(opening, at - 1)
                literal = False
        return Word(Span(start, at), self.text[start:at], "".join(value), literal)

    def _piece(self, at: int) -> tuple[str, int, bool]:
        """The next of what a word is made of, where it ends, and whether it stands for itself."""
        text, character = self.text, self.text[at]
        if character == "\\":
            joined = text[at + 1 : at + 3] == "\r\n" or text[at + 1 : at + 2] == "\n"
            return ("", at + (3 if text[at + 1] == "\r" else 2), True) if joined else (
                text[at + 1 : at + 2], min(at + 2, self.end), True)  # fmt: skip
        if character == "'" and (close := text.find("'", at + 1, self.end)) >= 0:
            return text[at + 1 : close], close + 1, True
        if character == '"' and (quote := _quote(text, at + 1, self.end)) is not None:
            inner = text[at + 1 : quote]
            self._substitutions(at + 1, quote)
            return inner, quote + 1, "$" not in inner and "`" not in inner and "\\" not in inner
        if character in "$`":
            end = self._expansion(at)
            return text[at:end], end, False
        return character, at + 1, character not in "*?"

    def _expansion(self, at: int) -> int:
        """Behind `$x`, `${x}`, `$(command)`, `$((sum))` or a command in backticks."""
        text = self.text
        if text[at] == "`":
            close = text.find("`", at + 1, self.end)
            return self._inner(at + 1, close) if close >= 0 else at + 1
        if text.startswith("$((", at):
            return _closing(text, at + 2, self.end, "(", ")")
        if text.startswith("$(", at):
            end = _closing(text, at + 2, self.end, "(", ")")
            return self._inner(at + 2, end - 1)
        if text.startswith("${", at):
            return _closing(text, at + 2, self.end, "{", "}")
        return at + 1

    def _inner(self, start: int, end: int) -> int:
        self.nested.append(Span(start, end))
        return end + 1

    def _substitutions(self, start: int, end: int) -> None:
        at = start
        while at < end:
            at = self._expansion(at) if self.text[at] in "$`" else at + 1

    def _finish(self) -> None:
        if self.words:
            self._command(self.words)
        self.words = []
        nested, self.nested = self.nested, []
        for span in nested if self.depth < DEEPEST else ():
            read(self.text, span.start, span.end, self.depth + 1, self.script)

    def _command(self, words: list[Word]) -> None:
        span = Span(words[0].span.start, words[-1].span.end)
        said = self.text[span.start : span.end]
        named = [word for word in words if ASSIGNED.match(word.text)]
        first = next((n for n, w in enumerate(words) if w not in named), len(words))
        exporting = first < len(words) and words[first].value in EXPORTS
        running = first < len(words) and words[first].value == "env"
        taken = named if exporting or running else words[:first]
        alone = first == len(words)
        assignments = tuple(_assignment(w, exporting, alone, said) for w in taken)
        kept = tuple(w for w in words if w not in taken)
        command = Command(kept, span, assignments)
        if any(w.value in STARTERS for w in kept[: command.at + 1]):
            self.script.nodes += _passed_on(kept, said)
        self.script.nodes += [*assignments, command] if kept else assignments
        self._scripts(kept)

    def _scripts(self, words: tuple[Word, ...]) -> None:
        """`bash -c "..."` and its like run what they quote."""
        for before, word in pairwise(words):
            quoted = len(word.text) > 2 and word.text[0] == word.text[-1] and word.text[0] in "'\""
            remote = words[0].value in ("ssh", "pdsh", "parallel-ssh") and word is words[-1]
            if quoted and (before.value in RUNNING or remote):
                inside = Span(word.span.start + 1, word.span.end - 1)
                python = before.value == "-c" and any(w.value.startswith("python") for w in words)
                (self.script.python if python else self.nested).append(inside)


def read(text: str, start: int, end: int, depth: int = 0, script: Script | None = None) -> Script:
    """The commands in text[start:end]."""
    script = Script() if script is None else script
    _Reader(text, end, depth, script).read(start)
    return script


def _assignment(word: Word, exporting: bool, alone: bool, said: str) -> Assignment:
    match = ASSIGNED.match(word.text)
    assert match is not None
    at = word.span.start + match.end()
    text = word.text[match.end() :]
    value = Word(Span(at, word.span.end), text, _value_behind(word), word.literal)
    return Assignment(match[1], value, word.span, exporting or alone, said)


def _passed_on(words: tuple[Word, ...], said: str) -> Iterator[Assignment]:
    """`docker run -e NAME=value` and its like."""
    for before, word in pairwise(words):
        if before.value in PASSING and ASSIGNED.match(word.text):
            found = _assignment(word, False, False, said)
            yield replace(found, another=f" {before.value} {{name}}={{value}}")


def _value_behind(word: Word) -> str:
    return word.value.partition("=")[2]


def _directive(text: str, start: int, end: int) -> tuple[Word, ...]:
    words = []
    for match in re.compile(r"[^\s#]+|#.*").finditer(text, start, end):
        if match[0].startswith("#"):
            break
        words.append(Word(Span(match.start(), match.end()), match[0], match[0]))
    return tuple(words)


def _line_end(text: str, at: int, end: int) -> int:
    found = text.find("\n", at, end)
    return end if found < 0 else found


def _quote(text: str, at: int, end: int) -> int | None:
    """Where the double quote is that closes one before `at`."""
    while at < end:
        if text[at] == "\\":
            at += 2
        elif text.startswith("$(", at) and not text.startswith("$((", at):
            at = _closing(text, at + 2, end, "(", ")")
        elif text[at] == '"':
            return at
        else:
            at += 1
    return None


def _closing(text: str, at: int, end: int, opens: str, closes: str) -> int:
    """Behind the bracket that closes one before `at`; at the end of the line where none does."""
    start, depth = at, 1
    while at < end:
        character = text[at]
        if character == "\\":
            at += 2
            continue
        if character == "'" and (close := text.find("'", at + 1, end)) >= 0:
            at = close
        elif character == '"' and (quote := _quote(text, at + 1, end)) is not None:
            at = quote
        depth += (character == opens) - (character == closes)
        at += 1
        if depth == 0:
            return at
    return _line_end(text, start, end)
