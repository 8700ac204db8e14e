"""A command that starts vLLM or SGLang, as the deployment that it asks for."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from cordee.core.errors import UsageError
from cordee.core.shell.started import Script, Started, script
from cordee.core.shell.words import BLANK
from cordee.plan.deployment import Engine
from cordee.plan.model import Model, model
from cordee.plan.scripts import serving_facts as facts
from cordee.plan.scripts.described import ANY_LENGTH, Option, grouped

VLLM = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server")
SGLANG = ("sglang.launch_server",)
IMAGE = "vllm-openai"
"""A container that starts the server by itself: what follows its name are options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingAsked:
    """What a command asks for."""

    engine: str
    """vllm or sglang."""
    model: Model
    path: str
    """The model as the command names it."""
    spread: Engine
    replicas: int
    dtype: str
    """What weights are kept in; "auto" where it does not say."""
    cache: str
    drafts: int
    most: int | None
    chunk: int | None
    options: tuple[Option, ...]
    started: Started
    remarks: tuple[str, ...]

    @property
    def chips(self) -> int:
        """Of all copies."""
        return self.spread.chips * self.replicas


def serving_asked(path: Path, given: Model | None = None) -> ServingAsked:
    """Read a script; a model that is given counts before its own. Raises `UsageError`."""
    try:
        read = script(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: it cannot be read: {error}") from error
    engine, started, rest = _server(read, path)
    return _Reader(path, read, engine, started, rest).asked(given)


def _server(read: Script, path: Path) -> tuple[str, Started, Sequence[str]]:
    for one in reversed(read.started):
        for at, word in enumerate(one.words):
            name, following = PurePosixPath(word).name, one.words[at + 1 : at + 2]
            if name in ("vllm", "sglang") and following == ("serve",):
                return name, one, one.words[at + 2 :]
            if word in VLLM or word in SGLANG:
                return "vllm" if word in VLLM else "sglang", one, one.words[at + 1 :]
            if name.partition(":")[0] == IMAGE and "serve" not in one.words[at + 1 :]:
                return "vllm", one, one.words[at + 1 :]
    raise UsageError(
        f"{path}: nothing in it starts `vllm serve`, `python -m {VLLM[0]}` or `python -m {SGLANG[0]}`"
    )


class _Reader:
    """The options of one server."""

    def __init__(
        self, path: Path, read: Script, engine: str, started: Started, rest: Sequence[str]
    ) -> None:
        self.path, self.read, self.engine, self.started = path, read, engine, started
        self.options = grouped(rest, ANY_LENGTH)
        before = list(takewhile(lambda word: not ANY_LENGTH.match(word), rest))
        self.first = before[-1] if before else ""
        known = facts.fields(engine)
        self.said = {
            known[name]: (name, " ".join(values)) for name, values in self.options if name in known
        }

    def asked(self, given: Model | None) -> ServingAsked:
        named = self.first or self.said.get("model", ("", ""))[1]
        found, ending = (given, "") if given else self._model(named)
        spread, replicas = self._spread(found)
        try:
            spread.check(found)
        except UsageError as error:
            raise UsageError(f"{self.path}: {error}") from error
        return ServingAsked(
            engine=self.engine,
            model=found,
            path=named,
            spread=spread,
            replicas=replicas,
            dtype=self._dtype(found, ending),
            cache="fp8" if self.said.get("cache", ("", ""))[1].startswith("fp8") else "bf16",
            drafts=self._drafts(),
            most=self.number("most", 0) or None,
            chunk=self.number("chunk", 0) or None,
            options=tuple(self.options),
            started=self.started,
            remarks=tuple(self._remarks(found.name, named if given is None else "")),
        )

    def place(self, name: str) -> str:
        line = self.read.line_of(name)
        return f"{self.path}, line {line}" if line else str(self.path)

    def number(self, field: str, usual: int) -> int:
        """Raises `UsageError` where it is no number."""
        if field not in self.said:
            return usual
        name, value = self.said[field]
        if value == "-1" and field == "chunk":
            return usual
        if not value.isdecimal() or not 0 < int(value) < 10**9:
            raise UsageError(
                f"{self.place(name)}: {name} {value}: a whole number above 0 is needed, and what it "
                "will be is not known before the script runs; write the number there"
            )
        return int(value)

    def _model(self, named: str) -> tuple[Model, str]:
        if not named or "$" in named:
            raise UsageError(
                f"{self.path}, line {self.started.line}: which model it serves is not known before it "
                "runs: give its config.json or its name as MODEL"
            )
        if BLANK.match(named):
            raise UsageError(
                f"{self.path}, line {self.started.line}: {named} is to be filled in: write the model there, or give "
                "its config.json or its name as MODEL"
            )
        if Path(named).is_dir() or Path(named).is_file():
            return model(named), ""
        name = PurePosixPath(named).name.replace("_", "-")
        plain, told = _plain(name)
        for one in (name, plain):
            with suppress(UsageError):
                return model(one), told
        raise UsageError(
            f"{self.path}, line {self.started.line}: {named}: its sizes are not known here: "
            "give its config.json as MODEL"
        )

    def _spread(self, found: Model) -> tuple[Engine, int]:
        tensor, pipeline = self.number("tensor", 1), self.number("pipeline", 1)
        data = self.number("data", 1)
        if self.engine == "sglang":
            return self._spread_of_sglang(tensor, pipeline, data)
        if not found.is_mixture:
            return Engine(tensor=tensor, pipeline=pipeline), data
        expert = tensor * data if "spread" in self.said else 1
        return Engine(tensor=tensor, pipeline=pipeline, data=data, expert=expert), 1

    def _spread_of_sglang(self, tensor: int, pipeline: int, data: int) -> tuple[Engine, int]:
        """Its degree of tensor parallelism counts all chips of a stage, those of DP attention, too."""
        expert = self.number("expert", 1)
        if "apart" not in self.said:
            return Engine(tensor=tensor, pipeline=pipeline, expert=expert), data
        if tensor % data:
            name, value = self.said["data"]
            raise UsageError(f"{self.place(name)}: {name} {value} does not divide {tensor} chips")
        one = Engine(tensor=tensor // data, pipeline=pipeline, data=data, expert=expert)
        return one, 1

    def _dtype(self, found: Model, ending: str) -> str:
        word = self.said.get("quantization", ("", ""))[1]
        if word:
            return ending if word == "ascend" and ending else facts.precisions().get(word, "auto")
        if ending:
            return ending
        half = self.said.get("dtype", ("", ""))[1] in ("half", "float16")
        return facts.stored().get(found.name, "fp16" if half else "bf16")

    def _drafts(self) -> int:
        if self.engine == "sglang":
            return max(self.number("drafts", 1) - 1, 0)
        name, value = self.said.get("speculative", ("", ""))
        if not name:
            return 0
        try:
            count = json.loads(value)["num_speculative_tokens"]
        except (ValueError, KeyError, TypeError):
            count = None
        if not isinstance(count, int) or count < 0:
            raise UsageError(
                f"{self.place(name)}: {name}: JSON with num_speculative_tokens is needed, such as "
                '{"method": "mtp", "num_speculative_tokens": 1}'
            )
        return count

    def _remarks(self, taken: str, named: str) -> Iterator[str]:
        for line in self.read.conditions:
            yield (
                f"{self.path}, line {line}: which way it goes only the run knows: what stands in it "
                "is read line by line, and the last value counts"
            )
        if named and PurePosixPath(named).name != taken and not Path(named).exists():
            yield f"{self.path}: {named} is taken to have the sizes of {taken}"
        word = self.said.get("quantization", ("", ""))[1]
        if word and word not in facts.precisions():
            yield f"{self.path}: --quantization {word}: not understood; --dtype says how many bits"
        known = facts.fields(self.engine).keys() | facts.others(self.engine).keys()
        for name, values in self.options:
            if name not in known:
                shown = " ".join((name, *values))[:80]
                yield f"{self.place(name)}: {shown}: not understood, so the plan leaves it out"


def _plain(name: str) -> tuple[str, str]:
    """A name without endings that leave the sizes as they are, and the dtype that these tell."""
    told = ""
    while ending := next((one for one in facts.endings() if name.lower().endswith(one)), ""):
        told = told or facts.endings()[ending]
        name = name[: -len(ending)]
    return name, told
