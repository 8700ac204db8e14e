"""A server as a deployment starts it, whatever kind of file says so."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cordee.core.errors import UsageError
from cordee.core.shell.words import ARRAY, WHOLE, Command, Word, commands, words_of

MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server")
MAIN = ("vllm.entrypoints.cli.main", "vllm")
OTHERS = ("sglang.launch_server", "tensorrt_llm.serve", "tensorrt_llm.commands.serve")
ENGINE_IMAGES = {"vllm": "vllm-openai", "sglang": "sglang"}
# Options of `docker run` without a value; all others take the next word.
DOCKER_SWITCHES = frozenset({
    "-d", "--detach", "-i", "--interactive", "-t", "--tty", "-it", "-ti", "-dit", "-itd", "-td", "-P",
    "--rm", "--privileged", "--init", "--read-only", "--no-healthcheck", "--oom-kill-disable",
    "--publish-all", "--quiet", "-q", "--sig-proxy", "--disable-content-trust",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable that is set, and where."""

    name: str
    value: Word
    line: int = 0


@dataclass(frozen=True, slots=True)
class Docker:
    """`docker run` around a server."""

    words: tuple[Word, ...]
    """The program and its options, with those that set variables taken out."""
    image: Word


@dataclass(frozen=True, slots=True)
class Script:
    """Shell text in a YAML file that starts a server among other things."""

    text: str
    span: tuple[int, int] | None
    """Where in it the command stands; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One server that is started."""

    engine: str = "vllm"
    """vllm, sglang or tensorrt-llm."""
    arguments: tuple[Word, ...]
    """What follows `vllm serve`."""
    prefix: tuple[Word, ...] = ()
    """What stands before the program, such as numactl."""
    settings: tuple[Setting, ...] = ()
    docker: Docker | None = None
    image: str = ""
    kind: str = "shell"
    """shell, dockerfile, compose, kubernetes or helm."""
    name: str = ""
    line: int = 1
    known: Mapping[str, str] = field(default_factory=dict)
    """Variables of the script with values that are known."""
    definitions: tuple[Setting, ...] = ()
    """Variables of the script that are not exported, as they were written."""
    gpus: int | None = None
    """How many the container was given, where that is said."""
    looked_up: tuple[Mapping[str, object], ...] = ()
    """Variables of a manifest whose values lie elsewhere, as they were written."""
    device_ids: tuple[int, ...] = ()
    """The numbers of the GPUs that the container was given, where they are said."""
    place: tuple[str | int, ...] = ()
    """Of its container in a YAML file: the number of the document, then keys and numbers."""
    script: Script | None = None
    span: tuple[int, int] | None = None
    """Of its command in the text that was read."""
    own: tuple[str, ...] = ()
    """The variables that stand before the command."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where in some words a server begins."""

    engine: str
    start: int
    """Of the program."""
    end: int
    """After the words that say what to serve with."""


def found_in(words: Sequence[str]) -> Found | None:
    """The server that these words start, if they do."""
    for at, word in enumerate(words):
        name = PurePosixPath(word).name
        following = words[at + 1 : at + 2]
        if name == "vllm" and following == ["serve"]:
            return Found("vllm", at, at + 2)
        if name == "trtllm-serve":
            return Found("tensorrt-llm", at, at + (2 if following == ["serve"] else 1))
        if name == "sglang" and following == ["serve"]:
            return Found("sglang", at, at + 2)
        if word == "-m" and following:
            start = at - 1 if at and PurePosixPath(words[at - 1]).name.startswith("python") else at
            if following[0] in MODULES:
                return Found("vllm", start, at + 2)
            if following[0] in MAIN and words[at + 2 : at + 3] == ["serve"]:
                return Found("vllm", start, at + 3)
            if following[0] in OTHERS:
                engine = "sglang" if following[0].startswith("sglang") else "tensorrt-llm"
                return Found(engine, start, at + 2)
    return None


def launches_in(text: str, where: str = "the command") -> list[Launch]:
    """Every server that a shell text starts. Raises `UsageError` where a quote is not closed."""
    return _launches(commands(text, where), where, _Scope())


class _Scope:
    """Variables as they stand while a script is read."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.words: dict[str, list[Word]] = {}
        self.exported: dict[str, Setting] = {}
        self.plain: dict[str, Setting] = {}

    def learn(self, name: str, word: Word, line: int, *, exported: bool) -> None:
        if ARRAY.match(f"{name.split('[]')[0]}=(") and "[]" in name:
            self._learn_array(name, word)
            return
        value = word.value(self.known)
        self.known[name] = value
        if exported or name in self.exported:
            self.exported[name] = Setting(name, word, line)
            return
        self.plain[name] = Setting(name, word, line)
        if not word.expands:
            self.words[name] = words_of(value) if " " in value and "'" not in value else []

    def _learn_array(self, name: str, word: Word) -> None:
        plain, _, added = name.partition("[]")
        before = self.words.get(plain, []) if added else []
        self.words[plain] = before + words_of(word.text)

    def spread(self, words: Iterable[Word]) -> list[Word]:
        """With the words that a variable of several words stands for."""
        out: list[Word] = []
        for word in words:
            whole = WHOLE.fullmatch(word.text) if word.expands else None
            several = self.words.get(whole[1], []) if whole else []
            array = "[@]" in word.text
            out += several if several and (array or not word.quoted) else [word]
        return out


def _launches(given: Iterable[Command], where: str, scope: _Scope) -> list[Launch]:
    out: list[Launch] = []
    for command in given:
        exporting = bool(command.words) and command.words[0].text in (
            "export",
            "declare",
            "local",
            "readonly",
        )
        if exporting or not command.words:
            pairs = list(command.assignments)
            if exporting:
                pairs += [_pair(w) for w in command.words[1:] if "=" in w.text]
                for word in command.words[1:]:
                    if word.text in scope.plain:
                        scope.exported[word.text] = scope.plain.pop(word.text)
            for name, word in pairs:
                scope.learn(name, word, command.line, exported=exporting)
            continue
        launch = _launch(command, where, scope)
        if launch is not None:
            out += launch
    return out


def _pair(word: Word) -> tuple[str, Word]:
    name, _, value = word.text.partition("=")
    return name, Word(value, word.expands, word.quoted)


def _launch(command: Command, where: str, scope: _Scope) -> list[Launch] | None:
    words = scope.spread(command.words)
    own = [Setting(name, word, command.line) for name, word in command.assignments]
    settings = (*scope.exported.values(), *own)
    values = [word.value(scope.known) for word in words]
    for at, value in enumerate(values):
        if (
            value in ("-c", "-lc", "-ec", "-xc")
            and at
            and PurePosixPath(values[at - 1]).name in ("bash", "sh")
        ):
            inside = launches_in(values[at + 1], where) if at + 1 < len(values) else []
            return [_around(i, settings, words[: at - 1], command.line) for i in inside] or None
    docker = _docker(words, values, settings, command.line)
    if docker is not None:
        return [_finished(docker, scope)]
    found = found_in(values)
    if found is None:
        return None
    before, pairs = _leading(words[: found.start], command.line)
    launch = Launch(
        engine=found.engine,
        arguments=tuple(words[found.end :]),
        prefix=tuple(before),
        settings=(*settings, *pairs),
        line=command.line,
        span=(command.start, command.end),
        own=tuple(setting.name for setting in (*own, *pairs)),
    )
    return [_finished(launch, scope)]


def _finished(launch: Launch, scope: _Scope) -> Launch:
    from dataclasses import replace

    return replace(launch, known=dict(scope.known), definitions=tuple(scope.plain.values()))


def _around(inner: Launch, settings: Iterable[Setting], outer: list[Word], line: int) -> Launch:
    from dataclasses import replace

    values = [word.text for word in outer]
    docker = _docker(outer, values, (), line) if "docker" in values or "podman" in values else None
    return replace(
        inner,
        settings=(*settings, *(docker.settings if docker else ()), *inner.settings),
        span=None,
        docker=docker.docker if docker else None,
        image=docker.image if docker else "",
        gpus=docker.gpus if docker else None,
        line=line,
    )


def _leading(words: Sequence[Word], line: int) -> tuple[list[Word], list[Setting]]:
    """What stands before a program, with `env NAME=value` taken out."""
    kept: list[Word] = []
    pairs: list[Setting] = []
    for word in words:
        name, equals, _ = word.text.partition("=")
        if equals and name.isidentifier():
            value = _pair(word)[1]
            pairs.append(Setting(name, value, line))
        elif word.text != "env":
            kept.append(word)
    return kept, pairs


def _docker(
    words: Sequence[Word], values: Sequence[str], settings: Iterable[Setting], line: int
) -> Launch | None:
    runs = [
        i
        for i, v in enumerate(values[:-1])
        if v in ("docker", "podman", "nerdctl") and values[i + 1] == "run"
    ]
    if not runs:
        return None
    at, options, given = runs[0] + 2, list(words[: runs[0] + 2]), list(settings)
    entry: list[Word] = []
    while at < len(words) and values[at].startswith("-"):
        name, equals, _ = values[at].partition("=")
        taken = [words[at]] if equals or name in DOCKER_SWITCHES else list(words[at : at + 2])
        value = Word(values[at].partition("=")[2]) if equals else taken[-1]
        if name in ("-e", "--env") and "=" in value.text:
            given.append(Setting(*_pair(value), line))
        elif name == "--entrypoint":
            entry = [value]
        else:
            options += taken
        at += len(taken)
    if at >= len(words):
        return None
    image, rest = words[at], [*entry, *words[at + 1 :]]
    found = found_in([word.text for word in rest])
    engine = found.engine if found else _engine_of(image.text)
    if engine is None or (
        found is None and rest and not rest[0].text.startswith("-") and engine != "vllm"
    ):
        return None
    return Launch(
        engine=engine,
        arguments=tuple(rest[found.end :] if found else rest),
        settings=tuple(given),
        docker=Docker(tuple(options), image),
        image=image.text,
        line=line,
        gpus=gpus_of([word.text for word in options]),
    )


def _engine_of(image: str) -> str | None:
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return next((e for e, ending in ENGINE_IMAGES.items() if name == ending), None)


def gpus_of(options: Sequence[str]) -> int | None:
    """How many GPUs `docker run` gives, where its options say."""
    for at, option in enumerate(options):
        name, equals, value = option.partition("=")
        if name == "--gpus":
            value = value if equals else "".join(options[at + 1 : at + 2])
            value = value.strip("\"'")
            if value.isdecimal() and len(value) < 4:
                return int(value)
            if value.startswith("device="):
                return len(value.removeprefix("device=").split(","))
    return None


def only_vllm(launches: Sequence[Launch], where: str) -> None:
    """Refuse a text without a server in it. Raises `UsageError`."""
    if not launches:
        raise UsageError(
            f"{where}: no `vllm serve`, `python -m vllm.entrypoints.openai.api_server` or vLLM "
            "container is started there"
        )
