"""The vendor's C functions as Python sees them: a code that is not 0 is an exception."""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

H2H, H2D, D2H, D2D, ANY_COPY = range(5)  # aclrtMemcpyKind

PARAM_INVALID = 107000
INVALID_DEVICE = 107001
CONTEXT_NULL = 107002
THREAD_SUBSCRIBE = 107012
STREAM_NO_CALLBACK = 107015
STREAM_ABORT = 107023
NOT_SUPPORTED = 207000
MEMORY_ALLOCATION = 207001
NO_DEVICE = 207004
NO_PERMISSION = 207006
EVENT_TIMESTAMP_INVALID = 107006
REPORT_TIMEOUT = 507012
SYS_DMA = 507013
DEVICE_SETUP = 507033
STREAM_SYNC_TIMEOUT = 507046

MiB = 1 << 20


class Refused(Exception):
    """A call gave a code other than 0."""

    def __init__(self, name: str, code: int, why: str) -> None:
        super().__init__(f"{name}: {code}: {why}")
        self.code = code
        self.why = why


class Acl:
    """Calls of one library: `acl.aclrtMalloc(byref(p), 8, 0)`. Integers go over as 64 bits."""

    def __init__(self, folder: str, name: str = "libascendcl.so") -> None:
        self.library = ctypes.CDLL(f"{folder}/{name}", mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(f"{folder}/libascendcl.so").aclGetRecentErrMsg.restype = ctypes.c_char_p
        self.messages = ctypes.CDLL(f"{folder}/libascendcl.so")
        self.messages.aclGetRecentErrMsg.restype = ctypes.c_char_p

    def __getattr__(self, name: str) -> Callable[..., None]:
        function = getattr(self.library, name)
        function.restype = ctypes.c_int

        def call(*arguments: Any) -> None:
            code = function(*(_as_c(argument) for argument in arguments))
            if code != 0:
                raise Refused(name, code, (self.messages.aclGetRecentErrMsg() or b"").decode())

        return call

    def got(self, kind: Any, name: str, *arguments: Any) -> Any:
        """What a function stores through its first argument, a pointer to `kind`."""
        value = kind()
        getattr(self, name)(ctypes.byref(value), *arguments)
        return value.value

    def malloc(self, size: int) -> int:
        return int(self.got(ctypes.c_void_p, "aclrtMalloc", size, 0))

    def write(self, device: int, data: bytes) -> None:
        self.aclrtMemcpy(device, len(data), data, len(data), H2D)

    def read(self, device: int, size: int) -> bytes:
        data = ctypes.create_string_buffer(size)
        self.aclrtMemcpy(data, size, device, size, D2H)
        return data.raw

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the current device."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.aclrtGetMemInfo(1, ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def stream(self) -> int:
        return int(self.got(ctypes.c_void_p, "aclrtCreateStream"))

    def event(self, flags: int = 0) -> int:
        return int(self.got(ctypes.c_void_p, "aclrtCreateEventExWithFlag", flags))


def _as_c(argument: Any) -> Any:
    return ctypes.c_int64(argument) if isinstance(argument, int) else argument


def on_device(device: int = 0) -> Acl:
    """In a child process: the runtime, with a device set."""
    acl = Acl(os.environ["CORDEE_TEST_LIBRARIES"])
    acl.aclInit(None)
    acl.aclrtSetDevice(device)
    return acl


def say(*words: object) -> None:
    print(*words, flush=True)


def stay() -> None:
    """Hold everything until the parent closes our input, or kills us."""
    say("ready")
    sys.stdin.readline()


HERE = Path(__file__).parent
