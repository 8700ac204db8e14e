"""Shell text as words: quotes, continued lines, comments, variables, and where each command stands."""

import re
import shlex
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cordee.core.errors import UsageError

ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
ARRAY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=\(")
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|([A-Za-z_]\w*)|\(([A-Za-z_]\w*)\))")
"""$NAME, ${NAME}, ${NAME:-else}, and $(NAME) of Kubernetes."""
WHOLE = re.compile(r"\$\{?([A-Za-z_]\w*)(?:\[[@*]\])?\}?")
SEPARATORS = ("&&", "||", ";;", ";", "|", "&", "(", ")")
REDIRECT = re.compile(r"(\d*|&)(>>|>&|>|<<<|<)(&?\d+|&-)?")
BLANK = re.compile(r"<[A-Za-z][\w .-]*>(?=[\s/\"']|$)")
"""What a reader is to fill in, such as <MODEL_PATH>; a shell would take it for two redirections."""
HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
PLAIN = re.compile(r"[\w@%+=:,./${}?!^~-]+")


@dataclass(frozen=True, slots=True)
class Word:
    """One word: what the shell would make of it without its variables, and how it was written."""

    text: str
    expands: bool = False
    """Whether `$` in it is a variable or a command, not a letter."""
    quoted: bool = False

    def written(self) -> str:
        """As shell text again."""
        if not self.expands:
            return shlex.quote(self.text)
        if PLAIN.fullmatch(self.text) and not self.quoted:
            return self.text
        return '"' + re.sub(r'(["\\])', r"\\\1", self.text) + '"'

    def value(self, known: Mapping[str, str]) -> str:
        """With the variables that are known in their places."""
        if not self.expands:
            return self.text
        return VARIABLE.sub(lambda m: _looked_up(m, known), self.text)


def _looked_up(match: re.Match[str], known: Mapping[str, str]) -> str:
    name = match[1] or match[3] or match[4]
    if name in known:
        return known[name]
    return match[2] if match[2] is not None else match[0]


@dataclass(slots=True)
class Command:
    """One command, with the assignments before it."""

    line: int
    start: int = 0
    end: int = 0
    """Its place in the text, without redirections before and after it; line ends are single letters."""
    assignments: list[tuple[str, Word]] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text.replace("\r\n", "\n").replace("\\\n", "  "), where
        # A continued line is two blanks here: where it ended is kept for line numbers.
        self.lines = _line_starts(text.replace("\r\n", "\n"))
        self.at = 0

    def line(self, at: int) -> int:
        return bisect_right(self.lines, at)

    def word(self) -> Word:
        start, out, quoted = self.at, "", False
        expands = self.text.startswith("~", start)
        while self.at < len(self.text):
            c = self.text[self.at]
            blank = BLANK.match(self.text, self.at)
            if blank:
                out, self.at = out + blank[0], blank.end()
                continue
            if c in " \t\n" or self.text.startswith(SEPARATORS, self.at) or c in "<>":
                break
            if c == "'":
                out, quoted = out + self._single(start), True
            elif c == '"':
                inner, inside = self._double(start)
                out, expands, quoted = out + inner, expands or inside, True
            elif c == "\\":
                out += self.text[self.at + 1 : self.at + 2]
                self.at += 2
            elif c in "$`":
                out, expands = out + self._expansion(start), True
            else:
                out, self.at = out + c, self.at + 1
        return Word(out, expands, quoted)

    def _single(self, start: int) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise self._broken("'", start)
        inner, self.at = self.text[self.at + 1 : end], end + 1
        return inner

    def _double(self, start: int) -> tuple[str, bool]:
        self.at += 1
        out, expands = "", False
        while self.at < len(self.text):
            c = self.text[self.at]
            if c == '"':
                self.at += 1
                return out, expands
            if c == "\\" and self.text[self.at + 1 : self.at + 2] in ('"', "\\", "$", "`"):
                out, self.at = out + self.text[self.at + 1], self.at + 2
            elif c in "$`":
                out, expands = out + self._expansion(start), True
            else:
                out, self.at = out + c, self.at + 1
        raise self._broken('"', start)

    def _expansion(self, start: int) -> str:
        opened = self.text[self.at : self.at + 2]
        begin = self.at
        if opened in ("$(", "${"):
            closing, depth = {"$(": ")", "${": "}"}[opened], 0
            while self.at < len(self.text):
                depth += {opened[1]: 1, closing: -1}.get(self.text[self.at], 0)
                self.at += 1
                if depth == 0 and self.at > begin + 1:
                    return self.text[begin : self.at]
            raise self._broken(opened, start)
        if opened[0] == "`":
            end = self.text.find("`", self.at + 1)
            if end < 0:
                raise self._broken("`", start)
            self.at = end + 1
        else:
            self.at += 1
        return self.text[begin : self.at]

    def _broken(self, quote: str, start: int) -> UsageError:
        begun = self.text[start : start + 30].splitlines()[0]
        return UsageError(
            f"{self.where}, line {self.line(start)}: a {quote} is opened and not closed: {begun} ..."
        )


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def commands(text: str, where: str = "the command") -> Iterator[Command]:
    """Every command of a script. Raises `UsageError` where a quote is not closed."""
    reader = _Reader(text, where)
    now = Command(1)
    while reader.at < len(reader.text):
        c = reader.text[reader.at]
        if c == "\n" or reader.text.startswith(SEPARATORS, reader.at):
            reader.at += 1
            if now.words or now.assignments:
                yield now
            now = Command(reader.line(reader.at))
        elif not _skipped(reader, c):
            _take(reader, now)
    if now.words or now.assignments:
        yield now


def _skipped(reader: _Reader, c: str) -> bool:
    """Go past blanks, comments, redirections and what is fed to a command, if one begins here."""
    if c in " \t":
        reader.at += 1
    elif c == "#":
        reader.at = _line_end(reader.text, reader.at)
    elif BLANK.match(reader.text, reader.at):
        return False
    elif HEREDOC.match(reader.text, reader.at) and not reader.text.startswith("<<<", reader.at):
        _skip_heredoc(reader)
    elif redirect := REDIRECT.match(reader.text, reader.at):
        reader.at = redirect.end()
        if redirect[3] is None:
            _skip_blanks(reader)
            reader.word()
    else:
        return False
    return True


def _take(reader: _Reader, now: Command) -> None:
    if not now.words and not now.assignments:
        now.line, now.start = reader.line(reader.at), reader.at
    _take_word(reader, now)
    now.end = reader.at


def _take_word(reader: _Reader, now: Command) -> None:
    array = ARRAY.match(reader.text, reader.at) if not now.words else None
    if array:
        reader.at = array.end()
        now.assignments.append((array[1] + "[]" + array[2], _array(reader)))
        return
    assignment = ASSIGNMENT.match(reader.text, reader.at) if not now.words else None
    if assignment:
        reader.at = assignment.end()
        now.assignments.append((assignment[1], reader.word()))
        return
    before = reader.at
    now.words.append(reader.word())
    if reader.at == before:
        reader.at += 1  # a character that begins no word


def _array(reader: _Reader) -> Word:
    """The words of an array, kept as shell text in one word."""
    words: list[Word] = []
    while reader.at < len(reader.text) and reader.text[reader.at] != ")":
        if reader.text[reader.at] in " \t\n":
            reader.at += 1
        elif reader.text[reader.at] == "#":
            reader.at = _line_end(reader.text, reader.at)
        else:
            before = reader.at
            words.append(reader.word())
            reader.at = max(reader.at, before + 1)
    reader.at += 1
    return Word(" ".join(word.written() for word in words), expands=True)


def _skip_blanks(reader: _Reader) -> None:
    while reader.text[reader.at : reader.at + 1] in (" ", "\t"):
        reader.at += 1


def _skip_heredoc(reader: _Reader) -> None:
    opened = HEREDOC.match(reader.text, reader.at)
    assert opened is not None
    end = re.compile(rf"^\s*{opened[1]}\s*$", re.MULTILINE).search(reader.text, opened.end())
    rest = _line_end(reader.text, opened.end())
    reader.at = end.end() if end else max(rest, opened.end())


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def words_of(text: str, where: str = "the command") -> list[Word]:
    """The words of a text that is one command. Raises `UsageError` where a quote is not closed."""
    return [word for command in commands(text, where) for word in _all(command)]


def _all(command: Command) -> list[Word]:
    given = [
        Word(f"{name}={word.text}", word.expands, word.quoted) for name, word in command.assignments
    ]
    return given + command.words
