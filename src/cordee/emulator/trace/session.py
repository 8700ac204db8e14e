"""Traces the current process from now to its end."""

import atexit
import importlib.metadata
import os
import platform
import sys
import traceback
from datetime import UTC, datetime
from types import ModuleType, TracebackType

import torch

import cordee
from cordee.emulator.trace.numerics import Comparison
from cordee.emulator.trace.options import Options
from cordee.emulator.trace.places import Places
from cordee.emulator.trace.records import VERSION
from cordee.emulator.trace.watcher import Watcher
from cordee.emulator.trace.writer import Writer


def begin(kernel: ModuleType, options: Options, native: frozenset[str]) -> None:
    """Write down every operator of this process until it ends.

    `kernel` is the compiled module; `native` is what `coverage.native_operators` gave before the
    virtual chip put its own kernels in the place of the adapter's.
    """
    writer = Writer(options.file())
    watcher = Watcher(kernel, writer, native, Comparison(kernel) if options.compare else None)
    writer.add_entry(_header(watcher.zero_s))
    watcher.places.watch()
    kernel.observe(watcher)
    _note_failure(writer, watcher)
    os.register_at_fork(after_in_child=lambda: kernel.observe(None))

    def finish() -> None:
        kernel.observe(None)
        watcher.sample()
        writer.add_entry(watcher.end())
        writer.flush()

    # Interpreters that end by an exception come here too, after the hook below.
    atexit.register(finish)


def _header(zero_s: float) -> dict[str, object]:
    rank = os.environ.get("RANK")
    return {
        "trace": VERSION,
        "process": os.getpid(),
        "rank": int(rank) if rank else None,
        "zero": round(zero_s, 6),
        "began": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": [*sys.orig_argv],
        "versions": {
            "cordee": cordee.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torch_npu": importlib.metadata.version("torch_npu"),
        },
    }


def _note_failure(writer: Writer, watcher: Watcher) -> None:
    """Write down the exception that ends the program, then let it be shown as before."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        watcher.sample()
        writer.add_entry(_failure(kind, error, trace, watcher.places))
        writer.flush()
        shown(kind, error, trace)

    sys.excepthook = hook


def _failure(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    places: Places,
) -> dict[str, object]:
    return {
        "exception": kind.__name__,
        "message": str(error),
        "site": places.site_of(trace),
        "traceback": "".join(traceback.format_exception(kind, error, trace)),
    }
