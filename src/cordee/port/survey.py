"""Assesses a whole repository: reads every file once, judges what is new, remembers the rest."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.port import baseline, git
from cordee.port.assessment import Assessment, Judged
from cordee.port.cache import Cache, key, said_digest
from cordee.port.configuration import Configuration, configuration
from cordee.port.documents import kind_of
from cordee.port.engine import RULES
from cordee.port.finding import Finding
from cordee.port.labour import Task, judged
from cordee.port.project import answers, extensions, methods
from cordee.port.repository import Entry, Repository
from cordee.port.setting import USUAL_TORCH, Project, Setting, Style
from cordee.port.suppression import chosen
from cordee.port.unreadable import RULE

LARGEST_BYTES = 5_000_000
VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
HEAD_BYTES = 1024  # of which a file's kind is told
Progress = Callable[[int, int], None]  # files judged, of how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one run is asked for; what is left out, the repository's configuration says."""

    style: Style | None = None
    torch: str = ""
    since: str = ""
    """A revision of git: only what was added since counts."""
    baseline: Path | None = None
    use_baseline: bool = True
    select: tuple[str, ...] = ()
    """The rules that count, by code or the beginning of one; all, where there are none."""
    ignore: tuple[str, ...] = ()
    jobs: int = 0
    """How many processes may judge; as many as there are processors, where 0."""
    cache: bool = True
    largest_bytes: int = LARGEST_BYTES

    def __post_init__(self) -> None:
        for code in (*self.select, *self.ignore):
            if not any(rule.startswith(code) for rule in (RULE.code, *RULES)):
                raise UsageError(f"{code}: no rule's code begins so; `cordee explain` lists them")


def assess(
    path: Path, options: Options | None = None, progress: Progress = lambda done, of: None
) -> Assessment:
    """All that is said about the repository, or the file, at `path`. Raises `UsageError`."""
    options = options or Options()
    root = Repository.at(path).root
    configured = configuration(root)
    repository = Repository.at(path, configured.exclude)
    setting = Setting(
        style=options.style or configured.style or Style.PORTABLE,
        torch=_version(options.torch or configured.torch or USUAL_TORCH),
    )
    lines = git.added(root, options.since) if options.since else None
    survey = _read(repository, setting, options.largest_bytes)
    setting = replace(setting, project=survey.project)
    tasks = [task for task in survey.tasks if lines is None or task.path in lines]
    files = _judged(root, tasks, setting, options, progress)
    files += [file for file in survey.unread if lines is None or file.path in lines]
    files = [_chosen(file, options, configured, lines) for file in files]
    known = options.baseline or configured.baseline
    if known is not None and options.use_baseline:
        files = baseline.without(sorted(files, key=_path), baseline.read(known))
    return Assessment(
        root=repository.only or root.name,
        revision=git.revision(root),
        style=str(setting.style),
        torch=setting.torch,
        files=tuple(sorted(files, key=_path)),
        others=survey.others,
    )


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a first look at every file gives."""

    tasks: list[Task]
    unread: list[Judged]
    others: int
    project: Project


def _read(repository: Repository, setting: Setting, largest_bytes: int) -> _Survey:
    entries = repository.entries()
    if not repository.only:
        seen = {entry.path for entry in entries}
        entries += _tracked(repository, seen)
    tasks, unread, others = [], [], 0
    defined: set[str] = set()
    for entry in entries:
        try:
            found = _looked_at(repository.root, entry, setting, largest_bytes)
        except OSError as error:
            found = _unread(entry, error.strerror or str(error))
        if found is None:
            others += 1
        elif isinstance(found, Judged):
            unread.append(found)
        else:
            tasks.append(found)
            defined.update(found.methods)
    modules = frozenset(task.path for task in tasks if task.python)
    built = frozenset(name for task in tasks for name in task.extensions)
    return _Survey(tasks, unread, others, Project(frozenset(defined), modules, built))


def _tracked(repository: Repository, seen: set[str]) -> list[Entry]:
    """Files that git keeps although its patterns ignore them: they are part of the repository."""
    found = []
    for path in git.tracked_but_ignored(repository.root):
        file = repository.root / path
        if path not in seen and file.is_file() and not file.is_symlink():
            found.append(Entry(path, file.stat().st_size))
    return found


def _looked_at(
    root: Path, entry: Entry, setting: Setting, largest_bytes: int
) -> Task | Judged | None:
    """A file that is to be judged, one that cannot be, or None: no rule looks at it."""
    if entry.problem:
        return _unread(entry, entry.problem)
    with (root / entry.path).open("rb") as file:
        head = file.read(HEAD_BYTES)
        kind = kind_of(entry.path, head)
        if kind is None:
            return None
        if entry.size > largest_bytes:
            sizes = f"{entry.size / 1e6:.1f} MB are more than {largest_bytes / 1e6:g} MB"
            return replace(_unread(entry, f"not read: {sizes}"), kind=kind.name)
        data = head + file.read()
    python = kind.name == "python"
    found = tuple(methods(data)) if python else ()
    built = tuple(extensions(data)) if python else ()
    return Task(entry.path, len(data), key(entry.path, data, setting), python, found, built)


def _unread(entry: Entry, why: str) -> Judged:
    return Judged(entry.path, "unreadable", 0, problem=f"{entry.path}: {why}")


def _judged(
    root: Path, tasks: list[Task], setting: Setting, options: Options, progress: Progress
) -> list[Judged]:
    cache = Cache.usual() if options.cache else Cache(None)
    try:
        done = _remembered(cache, tasks, setting.project)
        missing = [task for task in tasks if task.key not in done]
        told = partial(_told, progress, len(done), len(tasks))
        progress(len(done), len(tasks))
        new = judged(root, missing, setting, options.jobs, told)
        cache.keep((found, j.asked, said_digest(j.said), j.file) for found, j in new)
    finally:
        cache.close()
    return [*done.values(), *(judgement.file for _, judgement in new)]


def _told(progress: Progress, before: int, of: int, done: int) -> None:
    progress(before + done, of)


def _remembered(cache: Cache, tasks: list[Task], project: Project) -> dict[bytes, Judged]:
    """What is known of files of which, and of whose project, nothing has changed."""
    now: dict[tuple[str, ...], str] = {}
    known = {}
    for found, asked, said, file in cache.found({task.key: task.path for task in tasks}):
        question = tuple(asked)
        if question not in now:
            now[question] = said_digest(answers(project, question))
        if now[question] == said:
            known[found] = file
    cache.used(list(known))
    return known


def _chosen(
    file: Judged, options: Options, configured: Configuration, lines: dict[str, list[range]] | None
) -> Judged:
    """The file with the findings that were asked for."""
    off = (*configured.ignore, *options.ignore)
    wanted = [
        finding
        for finding in file.findings
        if (not options.select or chosen(finding.rule, options.select))
        and not chosen(finding.rule, off)
        and (lines is None or _touches(finding, lines[file.path]))
    ]
    if len(wanted) == len(file.findings):
        return file
    return replace(file, findings=tuple(wanted))


def _touches(finding: Finding, lines: list[range]) -> bool:
    return any(
        (r.start <= finding.end_line and finding.line < r.stop)
        or any(line in r for line in finding.also)
        for r in lines
    )


def _version(text: str) -> str:
    if VERSION.fullmatch(text) is None:
        raise UsageError(f"{text}: not a version of torch, such as {USUAL_TORCH}")
    return text


def _path(file: Judged) -> str:
    return file.path
