"""Imports of large libraries, whose objects stay as long as the process does."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[None]:
    """What is imported here stays: it is not searched for garbage, neither meanwhile nor at the end of the process.

    Python would search all of PyTorch's objects several times while they are made, and once more at exit: a
    third of the time that a short program with PyTorch takes.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
