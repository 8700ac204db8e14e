"""Where in the user's program an operator is called: module, line, phase."""

import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from cordee.emulator.trace.modules import Modules, Names, Parameters
from cordee.emulator.trace.records import Phase

# How many nodes of autograd's graph are remembered, to give the backward its forward's place.
NODES = 2**20

# Code that stands between the user's line and the operator: a decorator's, for example. Python's
# own library is another; generated code has no file.
INNER_MODULES = ("torch", "torch_npu", "cordee", "typing_extensions")
GENERATED = ("<frozen", "<eval_with_key>")


class Places:
    """Numbers every place, and tells it the first time."""

    def __init__(self, tell: Callable[[dict[str, object]], None]) -> None:
        self._tell = tell
        self._numbers: dict[tuple[str, str, int, Phase], int] = {}
        self._keys: list[tuple[str, str, int, Phase]] = []
        self._forward: dict[int, int] = {}  # of autograd's nodes, by sequence number
        self._modules = Modules(Names(), Parameters(tell))
        self._thread = _Thread()
        self._is_user: dict[str, bool] = {}
        self._library = f"{sysconfig.get_path('stdlib')}/"
        self._packages = f"{sysconfig.get_path('stdlib')}/site-packages/"
        self._inner = tuple(_inner())

    def watch(self) -> None:
        """Follow modules and optimizers of the process from now on."""
        self._modules.watch()
        register_optimizer_step_pre_hook(self._thread.begin_step)
        register_optimizer_step_post_hook(self._thread.end_step)

    def number(self) -> int:
        """The number of the place that the calling thread is at."""
        module = self._modules.name
        node = torch._C._current_autograd_node()
        if node is not None and not module:  # type: ignore[redundant-expr]
            return self._backward(node._sequence_nr())
        caller = sys._getframe(1).f_back
        if caller is None:  # a thread of autograd, in a callback after its last node
            return self._number("", "", 0, Phase.BACKWARD)
        site = self._site(caller)
        if node is not None:
            return self._number(module, *site, Phase.BACKWARD)  # a forward that is run again
        return self._outside_backward(module, site)

    def _outside_backward(self, module: str, site: tuple[str, int]) -> int:
        thread = self._thread
        nodes = torch._C._autograd._get_sequence_nr()
        is_recorded = nodes != thread.nodes
        phase = Phase.OTHER
        if thread.in_step:
            phase = Phase.OPTIMIZER
        elif module or is_recorded:
            phase = Phase.FORWARD
        number = self._number(module, *site, phase)
        if is_recorded:
            self._remember(range(max(thread.nodes, nodes - 64), nodes), number)
            thread.nodes = nodes
        return number

    def _remember(self, nodes: range, place: int) -> None:
        for node in nodes:  # views before the operator have nodes too
            self._forward[node] = place
        if len(self._forward) > NODES:
            for node in list(self._forward)[: NODES // 2]:
                del self._forward[node]

    def _backward(self, node: int) -> int:
        forward = self._forward.get(node)
        if forward is None:
            return self._number("", "", 0, Phase.BACKWARD)
        module, file, line, _ = self._keys[forward]
        return self._number(module, file, line, Phase.BACKWARD)

    def _number(self, module: str, file: str, line: int, phase: Phase) -> int:
        key = (module, file, line, phase)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._keys)
            self._keys.append(key)
            site = f"{_shown(file)}:{line}" if file else ""
            self._tell({"place": found, "module": module, "site": site, "phase": phase})
        return found

    def _site(self, frame: FrameType | None) -> tuple[str, int]:
        while frame is not None:
            file = frame.f_code.co_filename
            is_user = self._is_user.get(file)
            if is_user is None:
                is_user = self._is_user[file] = self._is_the_users(file)
            if is_user:
                return file, frame.f_lineno
            frame = frame.f_back
        return "", 0

    def _is_the_users(self, file: str) -> bool:
        if file.startswith((*self._inner, *GENERATED)):
            return False
        return not file.startswith(self._library) or file.startswith(self._packages)

    def phase(self, number: int) -> Phase:
        """What the program does at that place."""
        return self._keys[number][3]

    def site_of(self, trace: object) -> str:
        """file:line of the last frame of a traceback that is the user's."""
        found = ""
        while trace is not None:
            frame = trace.tb_frame  # type: ignore[attr-defined]
            file, _line = self._site(frame)
            if file == frame.f_code.co_filename:
                found = f"{_shown(file)}:{trace.tb_lineno}"  # type: ignore[attr-defined]
            trace = trace.tb_next  # type: ignore[attr-defined]
        return found


class _Thread(threading.local):
    """What a thread was last seen doing."""

    def __init__(self) -> None:
        self.nodes = torch._C._autograd._get_sequence_nr()
        self.in_step = False

    def begin_step(self, *_: object) -> None:
        self.in_step = True

    def end_step(self, *_: object) -> None:
        self.in_step = False


def _inner() -> Iterator[str]:
    """The files and folders of `INNER_MODULES`."""
    for name in INNER_MODULES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            yield file if not file.endswith("/__init__.py") else f"{os.path.dirname(file)}/"


def _shown(file: str) -> str:
    """Short as a reader knows it: from the working directory, or from the package."""
    for folder in (Path.cwd(), *(Path(place) for place in sys.path if place)):
        if Path(file).is_relative_to(folder):
            return str(Path(file).relative_to(folder))
    return file
