"""Settings of DeepSpeed, accelerate, transformers and others that mean another thing on Ascend."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.documents.data import DataFile
from cordee.port.documents.entries import Entry

DEEPSPEED = frozenset({
    "zero_optimization", "train_batch_size", "train_micro_batch_size_per_gpu", "wall_clock_breakdown",
    "gradient_accumulation_steps",
})  # fmt: skip
ACCELERATE = frozenset(
    {"compute_environment", "distributed_type", "num_processes", "downcast_bf16"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option(Fact):
    """A setting with such a value: `key` is the end of its path, or several with | between."""

    file: str  # of which framework the file has to be; "" for any
    key: str
    value: str  # a pattern, for the value in lower case; "" for any
    native: str = ""  # the value on Ascend
    meaning: str
    effort: str
    advice: str


def option(entry: Entry, document: DataFile) -> Option | None:
    """The row for a setting."""
    value = (entry.value or "").lower()
    for row in _named(entry.keys[-3:]):
        fits = re.fullmatch(row.value or ".*", value, re.DOTALL)
        if fits and (not row.file or _is_of(row.file, document)):
            return row
    return None


@lru_cache(maxsize=10_000)
def _named(keys: tuple[str, ...]) -> tuple[Option, ...]:
    """The rows whose key is the end of these."""
    path = ".".join(keys).lower()
    return tuple(row for row in _rows() if any(_ends(path, key) for key in row.key.split("|")))


def _ends(path: str, key: str) -> bool:
    return fnmatchcase(path, key) or fnmatchcase(path, f"*.{key}")


def _is_of(framework: str, document: DataFile) -> bool:
    known = DEEPSPEED if framework == "deepspeed" else ACCELERATE
    return len(known & document.top) >= 2 or (
        framework == "deepspeed" and "zero_optimization" in document.top
    )


@cache
def _rows() -> tuple[Option, ...]:
    return tuple(rows(files(__package__) / "options.toml", Option))
