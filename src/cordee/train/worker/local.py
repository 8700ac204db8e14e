"""A job of one worker without a launcher: the coordinator is in the same process."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from cordee.train.policy.effects import Begin, Commit, Effect, Finish, Note, Plan
from cordee.train.policy.membership import Membership
from cordee.train.policy.workers import Limits, Phase, Report
from cordee.train.wire import (
    Committed,
    Done,
    Epoch,
    Finished,
    FromWorker,
    Leave,
    Member,
    Planned,
    Reported,
    Told,
    planned,
)
from cordee.train.worker.control import Changed, Left

M = TypeVar("M", Planned, Committed)


class LocalControl:
    """Answers as a coordinator does."""

    def __init__(self, shards: int) -> None:
        self._job = Membership(Limits(shards=shards, workers=1))
        self._waiting: list[Epoch | Planned | Committed | Leave] = []
        self.shard_s = 0.0
        now_s = time.monotonic()
        self._do([*self._job.joined(0, now_s), *self._job.ready(0, now_s)])

    @property
    def pending(self) -> Epoch | None:
        first = self._waiting[0] if self._waiting else None
        return first if isinstance(first, Epoch) else None

    def say(self, message: FromWorker) -> None:
        now_s = time.monotonic()
        if isinstance(message, Reported):
            report = Report(message.step, message.reduced, message.held)
            self._do(self._job.reported(0, message.epoch, report, now_s))
        elif isinstance(message, Done):
            self._do(self._job.done(0, message.epoch, message.step, now_s, message.vote))
        elif isinstance(message, Finished):
            self._do(self._job.finished(0, now_s))
        elif isinstance(message, Told) and "error" in message.values:
            about = message.values.get("folder") or message.values.get("file")
            sys.stderr.write(f"cordee train: {message.kind}: {about}: {message.values['error']}\n")

    def enter(self, phase: Phase) -> None:
        pass

    def take_epoch(self) -> Epoch:
        epoch = self._waiting.pop(0)
        assert isinstance(epoch, Epoch)
        return epoch

    def expect(self, kind: type[M], epoch: int, meanwhile: Callable[[], None]) -> M:
        if self.pending is not None:
            raise Changed
        message = self._waiting.pop(0)
        if isinstance(message, Leave):
            raise Left(message.reason, error=message.error)
        assert isinstance(message, kind)
        return message

    def wait_change(self, most_s: float) -> bool:
        return False

    def close(self) -> None:
        pass

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Begin():
                    members = tuple(Member(n, "", "") for n in effect.members)
                    told = (effect.epoch, effect.step, members, effect.lost, effect.reason)
                    self._waiting.append(Epoch(*told, again=effect.again, anew=effect.anew))
                case Plan():
                    self._waiting.append(planned(effect, self._job.trust.checks))
                case Commit():
                    self._waiting.append(
                        Committed(effect.epoch, effect.step, effect.skip, total=effect.total)
                    )
                case Finish():
                    self._waiting.append(Leave(effect.error or "", error=bool(effect.error)))
                case Note():
                    sys.stderr.write(f"cordee train: {effect.text}\n")
                case _:
                    pass
