"""From a config.json, a folder with one, or a name that is known, to a `Model`."""

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.plan.model import compressed, grouped, hybrid, latent, varied
from cordee.plan.model.fields import Fields
from cordee.plan.model.model import Model

Reader = Callable[[Fields, str, str], Model]
READERS: dict[str, Reader] = {
    "grouped": grouped.llama,
    "gpt": grouped.gpt2,
    "latent": latent.deepseek,
    "nemotron": hybrid.nemotron,
    "two_parts": hybrid.two_parts,
    "mamba": hybrid.mamba,
    "compressed": compressed.deepseek_v4,
    "gemma4": varied.gemma4,
    "mimo": varied.mimo,
    "step": varied.step,
    "minimax": varied.minimax,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Fact):
    """A `model_type`, and how its config is read."""

    model_type: str
    reader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread(Fact):
    """A `model_type` that is known and cannot be read."""

    model_type: str
    missing: str
    """What a plan would have to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known(Fact):
    """A model whose config is at hand under a name."""

    name: str
    also: list[str] = field(default_factory=list)
    """Others that are built alike."""
    parameters: int | None = None
    """As published, layers that guess further tokens left out."""
    billions: float | None = None
    """The same where only a round number is published."""
    config: dict[str, Any]


ENDINGS = (
    "-instruct",
    "-base",
    "-chat",
    "-it",
    "-hf",
    "-pt",
    "-thinking",
    "-2507",
    "-fp8",
    "-w8a8",
    "-w4a8",
    "-mtp",
    "-bf16",
    "-nvfp4",
    "-awq",
)
"""Of names: how a model was tuned and is stored, not how it is built."""


@cache
def families() -> Mapping[str, Family]:
    """Every `model_type` that can be read."""
    table = files("cordee.plan.model") / "families.toml"
    return {row.model_type: row for row in rows(table, Family)}


@cache
def unread() -> Mapping[str, Unread]:
    """Every `model_type` of which it is known why it cannot be read."""
    table = files("cordee.plan.model") / "families.toml"
    return {row.model_type: row for row in rows(table, Unread, table="unread")}


@cache
def known() -> Mapping[str, Known]:
    """Every model that has a name here."""
    table = files("cordee.plan.model") / "known.toml"
    return {row.name.lower(): row for row in rows(table, Known)}


@cache
def _names() -> Mapping[str, Known]:
    """The same with the names of those that are built alike."""
    alike = {other.lower(): row for row in known().values() for other in row.also}
    return {**alike, **known()}


def model(name: str) -> Model:
    """The model in a config.json or a folder with one, or of that name, with who publishes it before or not.

    Raises `UsageError`.
    """
    path = Path(name)
    if path.is_dir():
        path /= "config.json"
    if path.is_file():
        return from_config(_load(path), str(path))
    if path.suffix == ".json" or len(path.parts) > 2:
        raise UsageError(f"{path}: no such file: give a config.json, or a name: {_all()}")
    return named(path.name if len(path.parts) == 2 else name)  # as Hugging Face names models


def named(name: str) -> Model:
    """The model of that name. Raises `UsageError` with the nearest."""
    found = _names().get(_plain(name))
    if found is None:
        longer = [other for other in _names() if name and other.startswith(name.lower())]
        close = longer or difflib.get_close_matches(name.lower(), _names(), n=1, cutoff=0.4)
        hint = f" Did you mean {_names()[close[0]].name}?" if close else ""
        raise UsageError(
            f"{name or 'MODEL'}: no such file, and no such model.{hint} Give the model's config.json, or one of {_all()}"
        )
    built = from_config(found.config, found.name)
    if name.lower() == found.name.lower():
        return built
    return replace(built, remarks=(*built.remarks, f"{name} is built like it"))


def _plain(name: str) -> str:
    """Without how it was tuned and is stored, where that is not part of a known name."""
    plain = name.lower()
    while plain not in _names():
        ending = next((one for one in ENDINGS if plain.endswith(one)), "")
        if not ending:
            break
        plain = plain.removesuffix(ending)
    return plain


def from_config(config: Mapping[str, Any], name: str) -> Model:
    """The model that a config describes; `name` is what errors call it. Raises `UsageError`."""
    kind = str(config.get("model_type"))
    if kind in unread():
        raise UsageError(f"{name}: model_type {kind} cannot be planned: {unread()[kind].missing}")
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        return _of_text(config, inner, name)
    family = families().get(kind)
    if family is None:
        raise UsageError(_unknown(config.get("model_type"), name))
    try:
        return READERS[family.reader](Fields(config, name), name, family.model_type)
    except UsageError as error:
        text = str(error)
        raise UsageError(text if text.startswith(name) else f"{name}: {text}") from error


def _of_text(config: Mapping[str, Any], inner: Mapping[str, Any], name: str) -> Model:
    """Of a model that also sees or hears, the part that reads and writes text."""
    found = from_config({"model_type": config.get("model_type"), **inner}, name)
    others = [part for part in config if part.endswith("_config") and part != "text_config"]
    remark = f"{', '.join(others)}: left out; the plan is for the part that reads and writes text"
    return Model(
        **{
            **{key: getattr(found, key) for key in found.__dataclass_fields__},
            "remarks": (*found.remarks, *([remark] if others else [])),
        }
    )


def _unknown(kind: object, name: str) -> str:
    if kind is None:
        return f"{name}: model_type is missing: it says which architecture the fields belong to"
    close = difflib.get_close_matches(str(kind), families(), n=1, cutoff=0.4)
    nearest = (
        f" The nearest is {close[0]}: if the model is built like it, write that as its model_type."
        if close
        else ""
    )
    return (
        f"{name}: model_type {kind}: nothing here knows how such a model is built.{nearest} "
        f"Known are {', '.join(families())}"
    )


def _all() -> str:
    return ", ".join(row.name for row in known().values())


def _load(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UsageError(
            f"{path}: a config.json is needed, as Hugging Face writes it: {error}"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: a JSON object is needed, as Hugging Face writes a config.json")
    return found
