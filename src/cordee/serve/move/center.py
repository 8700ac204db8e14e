"""What a gateway has of moves: begins one, feeds it, and tells how it goes."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from cordee.core.errors import UsageError
from cordee.core.http.exchange import Exchange
from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.fleet import Answered, Fleet, pool_named
from cordee.serve.gateway.record import Record
from cordee.serve.move.mover import Mover, Plan
from cordee.serve.move.report import page
from cordee.serve.policy.canary import STEPS, Limits, Step

TICK_S = 0.25


class Wish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /cordee/move."""

    old: str = msgspec.field(name="from")
    new: str = msgspec.field(name="to")
    samples: int | None = None
    agreement: float | None = None
    more_errors: float | None = None
    ttft_factor: float | None = None
    tpot_factor: float | None = None
    shares: list[float] | None = None
    compare_share: float = 1.0


class Center:
    """The moves of one gateway, one at a time."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self._fleet, self._folder = fleet, folder
        self._mover: Mover | None = None
        self._ticked_s = 0.0
        self._tell: Callable[[str, str, str], object] = lambda kind, pool, text: None

    def joined(self, tell: Callable[[str, str, str], object]) -> None:
        self._tell = tell

    def copy(self, path: str, body: dict[str, object], pool: str) -> str | None:
        return None if self._mover is None else self._mover.shadow.copy(path, body, pool)

    def answered(self, name: str, answer: Answered) -> None:
        if self._mover is not None:
            self._mover.shadow.answered(name, answer)

    def finished(self, record: Record) -> None:
        if self._mover is not None:
            self._mover.finished(record)

    def tick(self, now_s: float) -> None:
        if self._mover is not None and now_s - self._ticked_s > TICK_S:
            self._ticked_s = now_s
            self._mover.tick()

    def state(self) -> object:
        return None if self._mover is None else self._mover.state()

    def routes(self) -> Mapping[tuple[str, str], Callable[[Exchange], None]]:
        return {
            ("POST", "/cordee/move"): self._begin,
            ("POST", "/cordee/move/stop"): self._stop,
            ("GET", "/cordee/move/report"): self._report,
        }

    def _begin(self, exchange: Exchange) -> None:
        if self._mover is not None and not self._mover.over:
            raise ApiError(409, "a move is under way: stop it first, with /cordee/move/stop")
        try:
            wish = msgspec.json.decode(exchange.body, type=Wish)
        except msgspec.DecodeError as error:
            raise ApiError(400, f"the body is no wish for a move: {error}") from error
        differences = self._folder / f"differences-{int(time.time())}.jsonl"
        try:
            self._mover = Mover(
                self._fleet,
                Plan(
                    old=pool_named(self._fleet, wish.old),
                    new=pool_named(self._fleet, wish.new),
                    limits=_limits(wish),
                    steps=_steps(wish),
                    compare_share=min(1.0, max(0.0, wish.compare_share)),
                ),
                differences,
                self._tell,
            )
        except UsageError as error:
            raise ApiError(400, str(error)) from error
        exchange.send(200, msgspec.json.encode({"differences": str(differences)}))

    def _stop(self, exchange: Exchange) -> None:
        if self._mover is None or self._mover.over:
            raise ApiError(409, "no move is under way")
        self._mover.roll_back("asked for")
        exchange.send(200, b"{}")

    def _report(self, exchange: Exchange) -> None:
        if self._mover is None:
            raise ApiError(404, "there was no move")
        exchange.send(200, page(self._mover).encode(), "text/html; charset=utf-8")


def _limits(wish: Wish) -> Limits:
    plain = Limits()
    names = ("samples", "agreement", "more_errors", "ttft_factor", "tpot_factor")
    given = {name: getattr(wish, name) for name in names}
    values = {name: getattr(plain, name) if v is None else v for name, v in given.items()}
    if values["samples"] < 1 or not 0 <= values["agreement"] <= 1:
        raise ApiError(400, "samples must be 1 or more, and agreement from 0 to 1")
    return Limits(**values)


def _steps(wish: Wish) -> tuple[Step, ...]:
    if wish.shares is None:
        return STEPS
    if not wish.shares or any(not 0 < share <= 1 for share in wish.shares):
        raise ApiError(400, "shares: must be above 0 and at most 1", param="shares")
    middle = tuple(Step("canary", share) for share in wish.shares)
    return (Step("shadow", 0.0), *middle, Step("primary", 1.0))
