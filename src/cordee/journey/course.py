"""The chapters in their order; those whose outcome cannot have changed are taken from the run before."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from cordee import __version__
from cordee.core.errors import UsageError
from cordee.journey.commands import Desk
from cordee.journey.planning import Planned, plan
from cordee.journey.porting import Ported, port
from cordee.journey.serving import Served, serve
from cordee.journey.training import Trained, train

Outcome = TypeVar("Outcome")
# In an installed package the programs are beside this file; in a checkout they are among the examples.
FOLDERS = (Path(__file__).parent / "examples", Path(__file__).parents[3] / "examples")
SHARDS, SHARD_SIZE, LENGTH = 4, 8, 128
"""Of a step of examples/elastic_gpt/train.py."""
NAMES = {"port": "the port", "train": "the training", "plan": "the plan"}


@dataclass(frozen=True, slots=True)
class Order:
    """What a run of the demo is to do."""

    folder: Path
    steps: int
    kill_step: int
    tokens: int
    kill_token: int
    seed: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Journey:
    """What all chapters saw."""

    order: Order
    ported: Ported
    planned: tuple[Planned, ...]
    trained: Trained
    served: Served
    as_before: tuple[str, ...]
    """Chapters whose outcome is that of a run before."""
    seconds: float


def travel(order: Order, say: Callable[[str], None], title: Callable[[str], None]) -> Journey:
    """Go the whole way. Raises `ChapterFailed` where one of the commands does not do what it is there for."""
    began_s = time.monotonic()
    examples = _examples()
    desk = Desk(order.folder, say)
    target = order.folder / "ported"
    book = _Book(order, desk, _digest(examples))
    title("1  examples/nvidia_gpt, written for CUDA: ported, and proven on a virtual Ascend")
    ported = book.chapter("port", Ported, lambda: port(desk, examples / "nvidia_gpt", target))
    title(f"2  trained on four virtual Ascend chips; one is killed after step {order.kill_step}")
    script = examples / "elastic_gpt" / "train.py"
    asked = f"{order.steps} {order.kill_step}"
    trained = book.chapter(
        "train", Trained, lambda: train(desk, script, target, order.steps, order.kill_step), asked
    )
    title("3  planned: this model and a large one, on NVIDIA and on Ascend")
    config = order.folder / "model" / "config.json"
    step = (SHARDS * SHARD_SIZE, LENGTH)
    planned = book.chapter("plan", tuple[Planned, ...], lambda: plan(desk, config, step))
    title(f"4  served by two replicas; one is killed after {order.kill_token} tokens of an answer")
    served = serve(desk, order.folder / "model", order.tokens, order.kill_token, order.seed)
    return Journey(
        order, ported, planned, trained, served, tuple(book.as_before), time.monotonic() - began_s
    )


class _Book:
    """Outcomes of chapters, each with what it follows from."""

    def __init__(self, order: Order, desk: Desk, source: str) -> None:
        self._fresh, self._desk, self._source = order.fresh, desk, source
        self._folder = order.folder / "chapters"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.as_before: list[str] = []

    def chapter(
        self, name: str, kind: type[Outcome], make: Callable[[], Outcome], asked: str = ""
    ) -> Outcome:
        """The outcome of a chapter: that of a run before, or what `make` gives."""
        page = self._folder / f"{name}.json"
        key = f"{self._source} {asked}"
        if not self._fresh and (found := _read(page, key, kind)) is not None:
            self._desk.say("as in the run before; --fresh makes it anew")
            self.as_before.append(NAMES[name])
            return found
        self._fresh = True  # what comes after it follows from it
        outcome = make()
        page.write_bytes(msgspec.json.encode({"key": key, "outcome": outcome}))
        return outcome


def _read(page: Path, key: str, kind: type[Outcome]) -> Outcome | None:
    try:
        kept = json.loads(page.read_bytes())
        return msgspec.convert(kept["outcome"], kind) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, msgspec.ValidationError):
        return None


def _examples() -> Path:
    found = next((folder for folder in FOLDERS if (folder / "nvidia_gpt").is_dir()), None)
    if found is None:
        raise UsageError("the examples are not installed beside cordee: reinstall it")
    return found


def _digest(examples: Path) -> str:
    """Of what chapters follow from: the programs, and cordee itself."""
    made = hashlib.sha256(__version__.encode())
    for root in (examples, Path(__file__).parents[1]):
        for path in sorted(root.rglob("*.py")):
            made.update(path.read_bytes())
    return made.hexdigest()[:16]
