"""A container as a file describes it: its words, its variables, and the servers that it starts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cordee.core.shell.words import Word, words_of
from cordee.serve.deployment.launch import Launch, Script, Setting, found_in, launches_in
from cordee.serve.deployment.trees import Path

SHELL = ("-c", "-lc", "-ec", "-xc", "-euc", "-exc", "-euxc")
"""After which a shell takes its text."""


@dataclass(frozen=True, slots=True)
class Box:
    """What a file says of a container, beside its words."""

    image: str
    settings: tuple[Setting, ...]
    kind: str
    name: str = ""
    line: int = 0
    place: Path = ()


OWN = frozenset({"--model", "--served-model-name"})
"""Options that an image with vLLM in its name is given where it starts vLLM by itself."""


def is_vllms(image: str, words: Sequence[str] = ()) -> bool:
    """Whether an image starts vLLM by itself: as its name says, or that and what it is given."""
    told = {word.partition("=")[0] for word in words}
    return "vllm-openai" in image.rpartition("/")[2] or (
        "vllm" in image.lower() and bool(told & OWN)
    )


def servers_of(words: list[Word], box: Box, where: str) -> Iterator[Launch]:
    """The servers that a container starts, by its words or by its image."""
    texts = [word.text for word in words]
    shell = next((i for i, text in enumerate(texts) if text in SHELL), None)
    inside: list[Launch] = []
    if shell is not None and shell + 1 < len(texts) and found_in(texts) is None:
        script = texts[shell + 1]
        inside = [
            replace(launch, script=Script(script, launch.span))
            for launch in launches_in(script, where)
        ]
    elif found := found_in(texts):
        prefix = tuple(words[: found.start])
        inside = [Launch(engine=found.engine, arguments=tuple(words[found.end :]), prefix=prefix)]
    elif is_vllms(box.image, texts):
        inside = [Launch(arguments=tuple(words))]
    own = {setting.name: setting.value.text for setting in box.settings}
    for launch in inside:
        yield replace(
            launch,
            known={**own, **launch.known} if box.kind == "kubernetes" else launch.known,
            settings=(*box.settings, *launch.settings),
            image=box.image,
            kind=box.kind,
            name=box.name,
            line=box.line,
            place=box.place,
        )


def words_in(given: Any, where: str) -> list[Word]:
    """The words of `command`, `args` or `entrypoint`."""
    if given is None:
        return []
    if isinstance(given, list):
        return [mine(scalar(item)) for item in given]
    return words_of(str(given), where)


def mine(text: str) -> Word:
    """A word of a file that knows variables of its own."""
    return Word(text, expands="${" in text or "$(" in text, quoted=True)


def scalar(value: Any) -> str:
    """A value as the text that a container gets."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return ""
    return "" if value is None else str(value)


def variables(items: Iterable[dict[Any, Any]]) -> tuple[Setting, ...]:
    """Variables of a pod's container whose values are in the file."""
    pairs = [item for item in items if "value" in item]
    return tuple(Setting(str(item.get("name")), mine(scalar(item["value"]))) for item in pairs)


def numbers(given: Any) -> tuple[int, ...]:
    """Numbers of devices, where nothing else is among them."""
    texts = [scalar(item).strip() for item in given] if isinstance(given, list) else []
    fine = texts and all(text.isdecimal() and len(text) < 4 for text in texts)
    return tuple(int(text) for text in texts) if fine else ()


def count(given: Any) -> int | None:
    """How many, where that is a number."""
    text = scalar(given)
    return int(text) if text.isdecimal() and 0 < len(text) < 4 else None
