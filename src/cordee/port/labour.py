"""Judges many files, by several processes where that is worth it."""

import gc
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from cordee.port.assessment import Judged
from cordee.port.cache import key
from cordee.port.judgement import Judgement, judgement
from cordee.port.setting import Setting

ALONE_BYTES = 300_000  # as much is judged before other processes have started
CHUNK_BYTES = 400_000  # of files that go to a process together
Done = list[tuple[bytes, Judgement]]


@dataclass(frozen=True, slots=True)
class Task:
    """A file that is to be judged."""

    path: str  # relative to the repository, with slashes
    size_bytes: int
    key: bytes  # of the cache
    python: bool
    methods: tuple[str, ...]  # that it defines and rules ask for
    extensions: tuple[str, ...] = ()  # that it compiles for CUDA


def judged(
    root: Path, tasks: list[Task], setting: Setting, jobs: int, told: Callable[[int], None]
) -> Done:
    """What is said about each file. `told` hears how many are done."""
    paths = [task.path for task in sorted(tasks, key=lambda task: -task.size_bytes)]
    sizes = {task.path: task.size_bytes for task in tasks}
    jobs = jobs or _processors()
    if jobs == 1 or len(tasks) < 2 or sum(sizes.values()) < ALONE_BYTES:
        return _one_by_one(root, paths, setting, told)
    return _together(root, list(_chunks(paths, sizes)), setting, jobs, told)


def _one_by_one(
    root: Path, paths: list[str], setting: Setting, told: Callable[[int], None]
) -> Done:
    done: Done = []
    for path in paths:
        done += _chunk(root, [path], setting)
        told(len(done))
    return done


def _together(
    root: Path, chunks: list[list[str]], setting: Setting, jobs: int, told: Callable[[int], None]
) -> Done:
    done: Done = []
    lost: list[list[str]] = []
    with _pool(root, setting, jobs) as pool:
        waiting: dict[Future[Done], list[str]] = {pool.submit(_of_worker, c): c for c in chunks}
        for future in as_completed(waiting):
            try:
                done += future.result()
            except BrokenProcessPool:
                lost.append(waiting[future])
            told(len(done))
    for path in (path for chunk in lost for path in chunk):
        done += _apart(root, path, setting)
        told(len(done))
    return done


def _apart(root: Path, path: str, setting: Setting) -> Done:
    """A file that may end the process that judges it."""
    with _pool(root, setting, 1) as pool:
        try:
            return pool.submit(_of_worker, [path]).result()
        except BrokenProcessPool:
            problem = f"{path}: the process that read it has died"
            return [(b"", Judgement(Judged(path, "unreadable", 0, problem=problem), [], []))]


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pool(root: Path, setting: Setting, jobs: int) -> ProcessPoolExecutor:
    """Processes that are copies of this one, unless it has threads: those cannot be copied."""
    copies = "fork" in multiprocessing.get_all_start_methods() and threading.active_count() == 1
    context = multiprocessing.get_context("fork" if copies else "spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(root, setting))


def _chunks(paths: list[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    """The largest files first, and each chunk about as much work."""
    chunk: list[str] = []
    for path in paths:
        chunk.append(path)
        if sum(sizes[path] for path in chunk) >= CHUNK_BYTES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


# What a worker keeps between the chunks it is given.
_WORK: list[tuple[Path, Setting]] = []


def _begin(root: Path, setting: Setting) -> None:
    _WORK[:] = [(root, setting)]
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)  # trees are many objects that all live equally long


def _of_worker(paths: list[str]) -> Done:
    ((root, setting),) = _WORK
    return _chunk(root, paths, setting)


def _chunk(root: Path, paths: list[str], setting: Setting) -> Done:
    done: Done = []
    for path in paths:
        try:
            data = (root / path).read_bytes()
        except OSError as error:
            problem = f"{path}: {error.strerror}"
            done.append((b"", Judgement(Judged(path, "unreadable", 0, problem=problem), [], [])))
        else:
            done.append((key(path, data, setting), judgement(path, data, setting)))
    return done
