"""The arguments of `vllm serve` as its parser takes them: options with their values, and the model."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cordee.core.shell.words import Word
from cordee.serve.deployment.flags import Flag, abbreviated, named

NUMBER = re.compile(r"-\d+(\.\d+)?")
NAME = re.compile(r"(?<=--)[^.]*")
TRUTH = ("true", "false")
LONGEST = 10
"""Digits of a number that could be meant."""
DEEPEST = 500
"""Brackets of a JSON value that could be meant."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option as it was given."""

    name: str
    """The flag's long name, with the keys of a JSON value behind dots; as given where unknown."""
    words: tuple[Word, ...] = ()
    """Its values."""
    flag: Flag | None = None
    off: bool = False
    """Given as --no-NAME."""
    given: str = ""
    """How it was written."""
    missing: bool = False
    """A value is needed and none is there."""
    file: str = ""
    """The file of --config that holds it."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """All that follows `vllm serve`."""

    model: Word | None
    options: tuple[Option, ...]
    extra: tuple[Word, ...] = ()
    """Words that belong to nothing."""
    unread: str = ""
    """The file of --config that could not be read, and why."""
    known: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """The last value of a flag; those of JSON by their key."""
        for option in reversed(self.options):
            if option.name == name and not option.off:
                return option.words[-1].value(self.known) if option.words else "true"
            inner = _inside(option, name, self.known)
            if inner is not None:
                return inner
        return None

    def number(self, name: str, default: int = 1) -> int:
        """A flag's value as a number; the default where it is none or not known."""
        text = self.value(name) or ""
        return int(text) if text.isdecimal() and len(text) < LONGEST else default

    def has(self, name: str) -> bool:
        """Whether the flag is given, and not as --no-NAME."""
        return self.value(name) not in (None, "false", "False")


def _inside(option: Option, name: str, known: Mapping[str, str]) -> str | None:
    if not name.startswith(option.name + ".") or not option.words:
        return None
    at: object = parsed(option.words[0].value(known))
    for key in name.removeprefix(option.name + ".").split("."):
        at = at.get(key) if isinstance(at, dict) else None
    return None if at is None or isinstance(at, dict) else str(at)


def parsed(text: str) -> object:
    """What JSON says; None where it is none, or nested as nobody nests it."""
    if text.count("{") + text.count("[") > DEEPEST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def arguments(
    words: Sequence[Word], known: Mapping[str, str], version: str, folder: Path
) -> Arguments:
    """Read the words after `vllm serve`; options of `--config FILE` come before the others."""
    reader = _Reader(list(words), known, version)
    options, positional = reader.read()
    unread, named_there = "", list[Word]()
    for option in options:
        if option.name == "--config" and option.words:
            file = option.words[0].value(known)
            try:
                inner, model = _configuration(folder / file, file, version)
            except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
                said = (
                    error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
                )
                unread = f"{file}: {said or 'it cannot be read'}"
                continue
            options = [*inner, *(o for o in options if o is not option)]
            named_there = [model] if model else []
    blank = [word for word in positional if not word.text.strip()]
    positional = [word for word in positional if word.text.strip()] or named_there
    model_flag = next((o for o in reversed(options) if o.name == "--model" and o.words), None)
    model = positional[0] if positional else (model_flag.words[0] if model_flag else None)
    kept = tuple(o for o in options if o.name != "--model")
    return Arguments(model, kept, (*positional[1:], *blank), unread, known)


class _Reader:
    """Reads words from left to right."""

    def __init__(self, words: list[Word], known: Mapping[str, str], version: str) -> None:
        self.words, self.known, self.version, self.at = words, known, version, 0
        self.options: list[Option] = []
        self.positional: list[Word] = []

    def read(self) -> tuple[list[Option], list[Word]]:
        while self.at < len(self.words):
            word = self.words[self.at]
            text = word.value(self.known)
            self.at += 1
            if text == "--":
                self.positional += self.words[self.at :]
                break
            if text.startswith("-") and text != "-" and not NUMBER.fullmatch(text):
                self.options.append(self._option(text, word))
            else:
                self.positional.append(word)
        return self.options, self.positional

    def _option(self, text: str, word: Word) -> Option:
        if text.startswith("-O") and not text.startswith("-O.") and text[2:].lstrip("="):
            return self._level(text[2:].lstrip("="), text)
        if text == "-O" and (after := self._peek()) in ("0", "1", "2", "3"):
            self.at += 1
            return self._level(after, text)
        name, equals, value = text.partition("=")
        name = NAME.sub(lambda m: m[0].replace("_", "-"), name, count=1)
        base, dot, keys = name.partition(".")
        flag, off = self._flag(base)
        full = (flag.name if flag else base) + dot + keys.removesuffix("+")
        raw_name, _, raw = word.text.partition("=")
        value = raw if raw and "$" not in raw_name else value
        inline = (Word(value, word.expands and "$" in value, word.quoted),) if equals else None
        if dot:
            values = inline or self._next(1)
            return Option(full, values, flag, off, text, missing=not values)
        if flag is None:
            values = inline if inline is not None else self._guess()
            return Option(name, values, None, given=name)
        return self._known(flag, off, inline, name)

    def _level(self, level: str, text: str) -> Option:
        name = "--optimization-level"
        flag = named(name, self.version)
        if flag is None or not flag.there(self.version) or level.startswith("{"):
            name, flag = "--compilation-config", named("--compilation-config", self.version)
        return Option(name, (Word(level),), flag, given=text)

    def _flag(self, base: str) -> tuple[Flag | None, bool]:
        flag = named(base, self.version)
        if flag is not None:
            return flag, False
        if base.startswith("--no-"):
            positive = named("--" + base.removeprefix("--no-"), self.version)
            if positive is not None and positive.kind in ("flag", "optional"):
                return positive, True
        return abbreviated(base, self.version), False

    def _known(self, flag: Flag, off: bool, inline: tuple[Word, ...] | None, name: str) -> Option:
        if inline is not None:
            many = flag.kind == "many"
            return Option(flag.name, inline + (self._more() if many else ()), flag, off, name)
        if flag.kind in ("flag", "switch"):
            told = self._peek()
            if told is not None and told.lower() in TRUTH:
                self.at += 1
                return Option(flag.name, (Word(told),), flag, off, name)
            return Option(flag.name, (), flag, off, name)
        if flag.kind == "optional":
            return Option(flag.name, self._guess(), flag, off, name)
        values = self._more() if flag.kind == "many" else self._next(1)
        return Option(flag.name, values, flag, off, name, missing=not values)

    def _peek(self) -> str | None:
        return self.words[self.at].value(self.known) if self.at < len(self.words) else None

    def _next(self, count: int) -> tuple[Word, ...]:
        after = self._peek()
        if after is None or (after.startswith("-") and not NUMBER.fullmatch(after)):
            return ()
        self.at += count
        return (self.words[self.at - 1],)

    def _more(self) -> tuple[Word, ...]:
        found: list[Word] = []
        while more := self._next(1):
            found += more
        return tuple(found)

    def _guess(self) -> tuple[Word, ...]:
        return self._next(1)


def _configuration(path: Path, file: str, version: str) -> tuple[list[Option], Word | None]:
    """The options of a YAML file, and the model that it names."""
    given = yaml.safe_load(path.read_text("utf-8"))
    if not isinstance(given, dict):
        raise ValueError("it holds no options, such as `port: 8000`")  # noqa: TRY004  shown, not raised on
    words: list[Word] = []
    model: Word | None = None
    for key, value in given.items():
        name = f"--{str(key).replace('_', '-')}"
        if name in ("--model", "--model-tag"):
            model = Word(str(value))
        elif isinstance(value, bool):
            words += [Word(name)] if value else []
        elif isinstance(value, list):
            words += [Word(name), *(Word(str(item)) for item in value)]
        elif value is not None:
            text = json.dumps(value) if isinstance(value, dict) else str(value)
            words += [Word(name), Word(text)]
    from dataclasses import replace

    options, _ = _Reader(words, {}, version).read()
    return [replace(option, file=file) for option in options], model
