"""A choice asked of a second replica, silent until it is known which of the two speaks first."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cordee.core.http.client import Stream, Unreachable
from cordee.serve.gateway.fleet import Replica
from cordee.serve.gateway.seam import Seam
from cordee.serve.gateway.wire import is_error

Heard = Callable[[bytes], None]


@dataclass(slots=True, eq=False)
class Rival:
    """The second asking: its first event wins, all else ends it."""

    replica: Replica
    won: Callable[["Rival"], None]
    over: Callable[["Rival", str | None], None]
    """It is not needed any more, or it failed, with the reason."""
    headers: Mapping[str, str] = field(default_factory=dict)
    span: str = ""
    """Its name in traces."""
    seam: Seam | None = None
    """Where it goes on from the tokens of another vLLM."""
    status: int = 0
    data: bytes = b""
    began_s: float = field(default_factory=time.monotonic)
    stream: Stream = field(init=False)

    def __post_init__(self) -> None:
        self.stream = Stream(self._on_status, self._on_data, self._on_end)

    def stop(self) -> None:
        """The other replica was faster, or nobody wants the choice any more."""
        if not self.stream.ended:
            self.stream.abort()
            self.over(self, None)

    def move(self, reason: str) -> None:
        """Its replica is gone."""
        self._failed(reason)

    def unreached(self, error: Unreachable) -> None:
        """Nobody listens there."""
        self._failed(str(error))

    def _on_status(self, status: int, _: Mapping[str, str]) -> None:
        self.status = status

    def _on_data(self, data: bytes) -> None:
        now = time.monotonic()
        self.replica.answered_s = self.replica.stepped_s = now
        self.data += data
        if self.status != 200 or b"\n\n" not in self.data:
            return
        if is_error(self.data):
            self._failed("told an error before its first token")
        else:
            self.won(self)

    def _on_end(self, error: Unreachable | None) -> None:
        self._failed(str(error) if error is not None else f"answered {self.status}")

    def _failed(self, reason: str) -> None:
        self.stream.abort()
        self.over(self, reason)
