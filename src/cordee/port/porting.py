"""Ports a repository: into a copy, in place, or as a patch to look at; and takes a port back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from cordee.core.errors import CordeeError, UsageError
from cordee.port import git, patch
from cordee.port.assessment import Assessment, Judged
from cordee.port.finding import Finding, NewFile
from cordee.port.patch import Change
from cordee.port.prove.proof import Proof
from cordee.port.repository import OWN, PATCH, Repository
from cordee.port.rewriting import Left, NewFiles, Rewritten, rewritten
from cordee.port.survey import Options, Progress, assess
from cordee.port.writing import copy_tree, replace_file

Report = Callable[["Ported"], tuple[str, bytes]]  # the name of a file, and what is in it


class Where(StrEnum):
    """Where the ported files go."""

    OUT = "out"
    IN_PLACE = "in place"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a port is asked for."""

    path: Path
    where: Where = Where.OUT
    out: Path | None = None
    unsafe: bool = False
    force: bool = False
    """Work in place although files are not committed, or an earlier port can be undone."""
    options: Options = field(default_factory=lambda: Options(use_baseline=False))


@dataclass(frozen=True)
class Ported:
    """What came of it."""

    assessment: Assessment  # of what was there before
    folder: Path | None  # where the ported files are
    files: tuple[Rewritten, ...]  # that have findings
    new: tuple[NewFile, ...]  # that came with fixes
    patch: bytes  # empty where nothing changes
    report: str = ""  # the name of the report, in `folder`
    proof: Proof | None = None  # what running it has shown

    def rewrote(self, finding: Finding) -> bool:
        """Whether the finding's fix was made."""
        return finding in self._made

    def why_left(self, finding: Finding) -> str:
        """Why it was not, where a fix was there to be made."""
        return self._why.get(finding, "")

    @cached_property
    def _made(self) -> frozenset[Finding]:
        return frozenset(self.made)

    @cached_property
    def _why(self) -> dict[Finding, str]:
        return {left.finding: left.why for left in self.left}

    @property
    def changed(self) -> list[Rewritten]:
        """The files that differ from before."""
        return [file for file in self.files if file.before != file.after]

    @property
    def made(self) -> list[Finding]:
        """The findings that are gone."""
        return [finding for file in self.files for finding in file.made]

    @property
    def left(self) -> list[Left]:
        """The findings that a person has to see to."""
        return [left for file in self.files for left in file.left]


def port(request: Request, report: Report, progress: Progress = lambda done, of: None) -> Ported:
    """Port a repository as asked. Raises `UsageError`, and then has written nothing."""
    repository = Repository.at(request.path)
    root, out = repository.root, _out(request, repository)
    if request.where is Where.IN_PLACE and not request.force and git.dirty(root):
        raise UsageError(f"{request.path}: has changes that are not committed; --force ports it")
    assessment = assess(request.path, request.options, progress)
    new = NewFiles(root)
    files = [_rewritten(root, file, new, request.unsafe) for file in assessment.files]
    files = [file for file in files if file.made or file.left]
    changes = [Change(f.path, f.before, f.after) for f in files if f.before != f.after]
    changes += [Change(path, None, added.encode()) for path, added in sorted(new.texts.items())]
    text = patch.patch(changes) if changes else b""
    brought = tuple(NewFile(path, added) for path, added in sorted(new.texts.items()))
    ported = Ported(assessment, out, tuple(files), brought, text)
    if request.where is Where.NOWHERE or out is None:
        return ported
    name, page = report(ported)
    beside = {name: page} | ({PATCH: text} if text else {})
    if request.where is Where.OUT:
        added = {change.path: change.after for change in changes if change.before is None}
        after = {change.path: change.after for change in changes if change.before is not None}
        copy_tree(root, out, after, added | beside)
    elif changes:
        _in_place(root, changes, beside, request.force)
    return replace(ported, report=name if request.where is Where.OUT or changes else "")


def proven(ported: Ported, proof: Proof, report: Report) -> Ported:
    """The port with what running it has shown, which its report tells too. Raises `UsageError`."""
    ported = replace(ported, proof=proof)
    if ported.folder is not None and ported.report:
        name, page = report(ported)
        try:
            replace_file(ported.folder / name, page)
        except OSError as error:
            raise UsageError(f"{ported.folder / name}: {error.strerror}") from error
    return ported


def undo(path: Path) -> list[str]:
    """Take back the port whose patch is in the folder `path`. Raises `UsageError`."""
    root = Repository.at(path).root
    try:
        undoings = patch.read((root / PATCH).read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no {PATCH}: nothing to undo") from error
    before: dict[str, tuple[bytes, bytes | None]] = {}
    for undoing in undoings:
        try:
            now = (root / undoing.path).read_bytes()
        except OSError as error:
            raise UsageError(f"{undoing.path}: {error.strerror}: nothing was undone") from error
        before[undoing.path] = (now, undoing.undone(now))
    _write(root, before)
    for name in OWN:
        (root / name).unlink(missing_ok=True)
    return list(before)


def _out(request: Request, repository: Repository) -> Path | None:
    if request.where is Where.NOWHERE:
        return None
    if request.where is Where.IN_PLACE:
        return repository.root
    if repository.only:
        raise UsageError(f"{request.path}: is one file: port it with --in-place or --diff")
    return request.out or repository.root.with_name(f"{repository.root.name}-ascend")


def _rewritten(root: Path, file: Judged, new: NewFiles, unsafe: bool) -> Rewritten:
    if not file.findings:
        return Rewritten(file.path, b"", b"")
    return rewritten(root, file, new, unsafe)


def _in_place(root: Path, changes: list[Change], beside: dict[str, bytes], force: bool) -> None:
    if (root / PATCH).exists() and not force:
        raise UsageError(
            f"{root / PATCH}: from a port before: undo it, or move it away, or --force loses it"
        )
    named = {name: (b"", data) for name, data in beside.items()}
    for name in named:  # the way back is there before the first file changes
        replace_file(root / name, beside[name])
    try:
        _write(root, {c.path: (c.before, c.after) for c in changes})
    except CordeeError:
        for name in named:
            (root / name).unlink(missing_ok=True)
        raise


def _write(root: Path, files: Mapping[str, tuple[bytes | None, bytes | None]]) -> None:
    """Bring every file from its first bytes to its second, or none; None is no file."""
    done: list[str] = []
    try:
        for path, (before, after) in files.items():
            _compare(root, path, before)
            done.append(path)
            _put(root / path, after)
    except (OSError, UsageError) as error:
        for path in done:
            if _now(root / path) != files[path][0]:
                _put(root / path, files[path][0])
        if isinstance(error, UsageError):
            raise
        where = error.filename or root
        raise UsageError(f"{where}: {error.strerror}: nothing was written") from error


def _compare(root: Path, path: str, before: bytes | None) -> None:
    if _now(root / path) != before:
        raise UsageError(f"{path}: has changed meanwhile: nothing was written")


def _now(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _put(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
