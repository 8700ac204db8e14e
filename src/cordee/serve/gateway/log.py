"""What happens as lines of JSON, for machines that collect logs; no text of requests or answers is in them."""

import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cordee.core.errors import UsageError
from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.events import Event
from cordee.serve.gateway.record import Record
from cordee.serve.http.exchange import Exchange

STANDARD_OUTPUT = "-"
CLOSED = -1
words = logging.getLogger(__name__)


class Log:
    """Appends to a file, anew where that was moved away; a disk that takes no more costs lines, not requests."""

    def __init__(self, target: str) -> None:
        """`target`: a path, or `-`. Raises `UsageError` where it cannot be written."""
        self.lost = 0
        self._path = None if target == STANDARD_OUTPUT else Path(target)
        self._file, self._inode = (1 if self._path is None else CLOSED), 0
        if self._path is not None:
            try:
                self._open(self._path)
            except OSError as error:
                raise UsageError(f"{target}: no log can be written: {error.strerror}") from error

    def event(self, event: Event) -> None:
        """Something that all who watch are told of."""
        told = {"replica": event["replica"], "text": event["text"]}
        self._write(event["kind"], told, event["time_s"])

    def service(self, what: str, told: Mapping[str, object]) -> None:
        """The service itself begins or ends."""
        self._write(what, told, time.time())

    def refused(self, exchange: Exchange, error: ApiError) -> None:
        """A request that no replica was asked for."""
        told = {"path": exchange.path, "client": exchange.client, "status": error.status}
        self._write("request-refused", told | {"code": error.code}, time.time())

    def request(self, record: Record) -> None:
        """A request is over."""
        now = time.monotonic()
        breaks = [leg for leg in record.legs if leg.reason]
        told: dict[str, object] = {
            "id": record.id,
            "path": record.route,
            "model": record.lines[0].body.get("model"),
            "pool": record.pool,
            "key": record.key,
            "stream": record.streams,
            "outcome": record.outcome,
            "error": record.error,
            "tokens_in": record.lines[0].prompt_tokens,
            "tokens_out": sum(leg.ids for leg in record.legs),
            "ttft_s": None if record.first_s is None else round(record.first_s, 4),
            "duration_s": round(now - record.began_s, 4),
            "failovers": len(breaks),
            "replicas": list(dict.fromkeys(leg.replica for leg in record.legs)),
        }
        if breaks:
            told["broke"] = [{"replica": leg.replica, "reason": leg.reason} for leg in breaks]
        self._write("request", told, time.time())

    def _write(self, event: str, told: Mapping[str, object], time_s: float) -> None:
        at = datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": at, "event": event, **told}) + b"\n"
        try:
            if self._path is not None and not self._same(self._path):
                self._open(self._path)
            os.write(self._file, line)
        except OSError as error:
            if not self.lost:
                words.error("%s: %s: lines are lost", self._path or "the log", error.strerror)
            self.lost += 1

    def _open(self, path: Path) -> None:
        old, self._file = self._file, CLOSED
        if old != CLOSED:
            os.close(old)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._inode = os.fstat(self._file).st_ino

    def _same(self, path: Path) -> bool:
        try:
            return path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False
