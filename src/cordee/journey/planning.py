"""The second chapter: what the program, and a model of the size that people train, take on either kind of chip."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordee.journey.commands import Desk

CHIPS = ("A100", "H20", "910B3", "910C")
GROWN_UP = "Llama-3.1-8B"
GROWN_UP_CHIPS = 64
GROWN_UP_TOKENS = "1T"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one kind of chip makes of a training run."""

    chip: str
    software: str
    layout: str
    tokens_per_s: float
    tokens_per_s_low: float
    tokens_per_s_high: float
    mfu: float
    days: float
    memory_gib: float
    most_of_the_time: str


@dataclass(frozen=True, slots=True)
class Planned:
    """One training run, on every kind of chip."""

    model: str
    chips: int
    tokens: float
    offers: tuple[Offer, ...]


def plan(desk: Desk, config: Path, tokens_of_a_step: tuple[int, int]) -> tuple[Planned, ...]:
    """Plan the program's own model, and one that is grown up. `tokens_of_a_step`: sequences, and the length of one."""
    sequences, length = tokens_of_a_step
    own = ["--chips", "4", "--tokens", "1e9", "--batch", str(sequences), "--sequence", str(length)]
    grown_up = ["--chips", str(GROWN_UP_CHIPS), "--tokens", GROWN_UP_TOKENS]
    return (
        _planned(desk, "plan-own", str(config), own),
        _planned(desk, "plan-grown-up", GROWN_UP, grown_up),
    )


def _planned(desk: Desk, name: str, model: str, options: Sequence[str]) -> Planned:
    chips = [word for chip in CHIPS for word in ("--chip", chip)]
    said = desk.run(name, ["plan", "train", model, *chips, *options, "--top", "1", "--json"])
    made: dict[str, Any] = json.loads(said)
    offers = tuple(_offer(found) for found in made["chips"])
    for offer in offers:
        desk.say(f"{offer.chip}: {offer.tokens_per_s:,.0f} tokens/s, {offer.days:.1f} days")
    return Planned(
        model=Path(made["model"]).name if model != GROWN_UP else GROWN_UP,
        chips=int(options[1]),
        tokens=made["tokens"],
        offers=offers,
    )


def _offer(found: dict[str, Any]) -> Offer:
    best = found["plans"][0]
    layout = best["layout"]
    parts: dict[str, float] = best["parts_s"]
    return Offer(
        chip=found["chip"],
        software=found["software"],
        layout=f"TP{layout['tensor']} PP{layout['pipeline']} DP{layout['data']} ZeRO{layout['zero']}",
        tokens_per_s=best["tokens_per_s"],
        tokens_per_s_low=found["tokens_per_s_low"],
        tokens_per_s_high=found["tokens_per_s_high"],
        mfu=found["mfu"],
        days=found["seconds"] / 86400,
        memory_gib=best["memory_bytes"]["total"] / 2**30,
        most_of_the_time=max(parts, key=lambda part: parts[part]),
    )
