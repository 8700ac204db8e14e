"""Reads answers of HTTP/1.1 as they come: the head once, then each chunk with as little work as may be."""

from collections.abc import Callable

HEAD_MOST = 65_536


class NoHttp(ValueError):
    """What came is no answer of HTTP/1.1."""


class ReplyReader:
    """One answer. Calls back with its head, its data, and when it is whole."""

    __slots__ = (
        "_chunked", "_left", "_rest", "headers", "keeps_alive", "on_data", "on_head", "status",
        "whole",
    )  # fmt: skip

    def __init__(
        self, on_head: Callable[[int, dict[str, str]], None], on_data: Callable[[bytes], None]
    ) -> None:
        self.on_head, self.on_data = on_head, on_data
        self.status = 0
        self.headers: dict[str, str] = {}
        self.whole = False
        self.keeps_alive = True
        self._rest = b""
        self._chunked = False
        self._left: int | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection. Raises `NoHttp`."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._chunked:
            self._chunks(data)
            return
        if not self.status:
            data = self._head(data)
            if not self.status:
                self._rest = data
                return
        if self._chunked:
            self._chunks(data)
        elif data or self._left == 0:
            self._plain(data)

    def closed(self) -> None:
        """The connection ended: an answer without a length is whole by that."""
        if self.status and not self._chunked and self._left is None:
            self.whole = True

    def _head(self, data: bytes) -> bytes:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_MOST or (data and not b"HTTP/1.".startswith(data[:7])):
                raise NoHttp("it does not begin as HTTP/1.1 does")
            return data
        first, *lines = data[:end].split(b"\r\n")
        rest = data[end + 4 :]
        parts = first.split(b" ", 2)
        if not first.startswith(b"HTTP/1.") or len(parts) < 2 or not parts[1].isdigit():
            raise NoHttp(f"it begins with {first[:40]!r}")
        status = int(parts[1])
        if status < 200:  # not yet the answer
            return self._head(rest) if rest else b""
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise NoHttp(f"a header is {line[:40]!r}")
            self.headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        self.status = status
        self.keeps_alive = (
            first.startswith(b"HTTP/1.1") and self.headers.get("connection", "").lower() != "close"
        )
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if length is not None and not self._chunked:
            if not length.isdigit():
                raise NoHttp(f"its length is {length!r}")
            self._left = int(length)
        if status in (204, 304):
            self._left = 0
        self.on_head(status, self.headers)
        return rest

    def _chunks(self, data: bytes) -> None:
        at, size = 0, len(data)
        while True:
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            try:
                length = int(data[at:end], 16)
            except ValueError:
                length = _length(data[at:end])
            if length <= 0:
                if length:
                    raise NoHttp(f"a chunk of {length} bytes")
                if data.find(b"\r\n\r\n", end) < 0 and data[end : end + 4] != b"\r\n\r\n":
                    break
                self.whole = True
                return
            stop = end + 2 + length
            if size < stop + 2:
                break
            self.on_data(data[end + 2 : stop])
            at = stop + 2
            if at == size:
                return
        self._rest = data[at:]

    def _plain(self, data: bytes) -> None:
        if self._left is None:
            self.on_data(data)
            return
        if len(data) > self._left:
            raise NoHttp("it is longer than it says")
        self._left -= len(data)
        if data:
            self.on_data(data)
        self.whole = self._left == 0


def _length(line: bytes) -> int:
    """The length of a chunk from a line that has more than that."""
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise NoHttp(f"a chunk begins with {line[:20]!r}") from error
