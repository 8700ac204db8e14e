"""A worker's own store, over which groups are formed whose first member it is: none is needed by all."""

from datetime import timedelta

from torch._C._distributed_c10d import TCPStore

STORE_S = 60.0


class Store:
    """Listens as long as the process runs."""

    def __init__(self, host: str) -> None:
        self._store = TCPStore(
            host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=STORE_S)
        )

    @property
    def port(self) -> int:
        return int(self._store.port)
