"""Ranks of a communicator as child processes of a test: each speaks HCCL through ctypes."""

import os
import time
from array import array
from ctypes import byref, c_char, c_int32, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from calls import Acl, Refused, on_device, say  # noqa: F401

__all__ = [
    *(
        "Acl",
        "Rank",
        "ROOT_INFO_BYTES",
        "Refused",
        "on_device",
        "SUM",
        "PROD",
        "MAX",
        "MIN",
        "TYPES",
        "array",
        "byref",
        "c_uint64",
    ),
    *("c_char", "c_void_p", "counts", "devices_of", "join", "os", "ranks_of", "say", "time"),
]

ROOT_INFO_BYTES = 4108
SUM, PROD, MAX, MIN = range(4)

# HcclDataType and the typecode of Python's arrays that holds the same bytes.
TYPES = {
    "int8": (0, "b"),
    "int16": (1, "h"),
    "int32": (2, "i"),
    "float32": (4, "f"),
    "int64": (5, "q"),
    "float64": (10, "d"),
    "float16": (3, "H"),
    "bfloat16": (11, "H"),
}


class Rank:
    """One rank: its chip, its communicator and a stream."""

    def __init__(self, number: int, ranks: int, root: bytes, **settings: Any) -> None:
        self.number, self.ranks = number, ranks
        self.acl = on_device(number)
        self.hccl = Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so")
        self.stream = self.acl.stream()
        self.comm = c_void_p()
        self.hccl.HcclCommInitRootInfo(ranks, root, number, byref(self.comm))

    def put(self, values: Any, code: str = "f") -> int:
        data = array(code, values).tobytes()
        place = self.acl.malloc(max(len(data), 1))
        if data:
            self.acl.write(place, data)
        return place

    def get(self, place: int, count: int, code: str = "f") -> list[Any]:
        data = array(code)
        data.frombytes(self.acl.read(place, count * data.itemsize))
        return data.tolist()

    def wait(self) -> None:
        self.acl.aclrtSynchronizeStream(self.stream)

    def call(self, name: str, *arguments: Any) -> None:
        """A call on the communicator and the stream, to its end."""
        getattr(self.hccl, name)(*arguments, self.comm, self.stream)
        self.wait()


def join() -> Rank:
    """In a child: the communicator of all children, met through the file that ROOT names."""
    rank, ranks, file = int(os.environ["RANK"]), int(os.environ["RANKS"]), Path(os.environ["ROOT"])
    if rank == 0:
        root = (c_char * ROOT_INFO_BYTES)()
        Acl(os.environ["CORDEE_TEST_LIBRARIES"], "libhccl.so").HcclGetRootInfo(root)
        file.with_suffix(".part").write_bytes(bytes(root))
        file.with_suffix(".part").rename(file)
    while not file.exists():
        time.sleep(0.01)
    return Rank(rank, ranks, file.read_bytes())


def counts(*values: int) -> Any:
    return (c_uint64 * len(values))(*values)


def ranks_of(*values: int) -> Any:
    return (c_uint32 * len(values))(*values)


def devices_of(*values: int) -> Any:
    return (c_int32 * len(values))(*values)
