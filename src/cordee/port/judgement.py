"""What is said about one file, whatever is in it: nothing in a file stops the rest."""

from dataclasses import dataclass, replace
from typing import Any

from cordee.core.errors import SourceError
from cordee.port.assessment import Judged
from cordee.port.documents import kind_of
from cordee.port.engine import concerns, findings
from cordee.port.finding import Finding
from cordee.port.project import Questions, answers
from cordee.port.rule import Rule
from cordee.port.setting import Setting
from cordee.port.suppression import Suppressions
from cordee.port.unreadable import mentions


@dataclass(frozen=True, slots=True)
class Judgement:
    """A file, and what its findings depend on beside its own text."""

    file: Judged
    asked: list[str]  # of the project
    said: list[str]  # by the project


def judgement(path: str, data: bytes, setting: Setting) -> Judgement:
    """Judge one file. Never raises: what goes wrong is the file's `problem`."""
    questions = Questions(setting.project)
    file = _judged(path, data, replace(setting, project=questions))
    asked = sorted(questions.asked)
    return Judgement(file, asked, answers(setting.project, asked))


def _judged(path: str, data: bytes, setting: Setting) -> Judged:
    kind = kind_of(path, data)
    assert kind is not None, path
    bare = Judged(path, kind.name, lines_of(data))
    text = data.decode("latin-1")
    if not concerns(text, kind.name):
        return bare
    if b"\0" in data:
        return _unreadable(bare, data, f"{path}: holds null bytes: not text")
    failed: list[str] = []

    def note(rule: Rule | None, what: object, error: Exception) -> None:
        failed.append(_failure(path, rule, what, error))

    try:
        document = kind.open(path, data, setting)
        found = findings(document, note)
        text = document.source.text
    except SourceError as error:
        return _unreadable(bare, data, str(error))
    except (RecursionError, MemoryError):
        return _unreadable(bare, data, f"{path}: is nested too deeply to be read")
    except Exception as error:  # noqa: BLE001 - a mistake of ours costs one file, and is shown
        return _unreadable(bare, data, _failure(path, None, "the file", error))
    return _kept(replace(bare, problem="; ".join(dict.fromkeys(failed))), text, found)


def _kept(file: Judged, text: str, found: list[Finding]) -> Judged:
    """The file with the findings that no comment silences."""
    suppressions = Suppressions(text)
    kept = tuple(finding for finding in found if not suppressions.silence(finding))
    return replace(file, findings=kept, suppressed=len(found) - len(kept))


def _unreadable(file: Judged, data: bytes, problem: str) -> Judged:
    found = list(mentions(file.path, file.kind, data))
    return replace(_kept(file, data.decode("utf-8", errors="replace"), found), problem=problem)


def _failure(path: str, rule: Rule | None, what: Any, error: Exception) -> str:
    line = f":{what.lineno}" if hasattr(what, "lineno") else ""
    who = rule.code if rule is not None else "cordee"
    return f"{path}{line}: a mistake in {who}, please report it: {type(error).__name__}: {error}"


def lines_of(data: bytes) -> int:
    """How many lines a file has; the last may lack its end."""
    return data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
