"""A worker's own store, over which groups are formed whose first member it is: none is needed by all."""

from collections.abc import Callable
from datetime import timedelta

from torch._C._distributed_c10d import TCPStore

from cordee.train.wire import address

STORE_S = 60.0
GROUP_S = 600.0
"""Longer than any collective takes: one that waits in vain is freed by whoever knows that."""
TRY_S = 1.0
"""PyTorch itself tries for so long; one that is gone does not come back under its address."""


class Store:
    """Listens as long as the process runs."""

    def __init__(self, host: str) -> None:
        self._store = TCPStore(
            host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=STORE_S)
        )

    @property
    def port(self) -> int:
        return int(self._store.port)


def reached(at: str, over: Callable[[], bool]) -> TCPStore:
    """The store of another worker, HOST:PORT. Raises `RuntimeError` where it does not answer until `over`."""
    host, port = address(at)
    while True:
        try:
            store = TCPStore(
                host,
                port,
                is_master=False,
                wait_for_workers=False,
                timeout=timedelta(seconds=TRY_S),
            )
        except RuntimeError:
            if over():
                raise
            continue
        store.set_timeout(timedelta(seconds=GROUP_S))
        return store
