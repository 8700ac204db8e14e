"""Findings and assessments made by hand, as small as a test needs them."""

from dataclasses import dataclass, field
from pathlib import Path

from cordee.port.assessment import Assessment, Judged
from cordee.port.documents import document
from cordee.port.engine import findings
from cordee.port.finding import Confidence, Edit, Effort, Finding, Fix, Meaning, NewFile, Safety
from cordee.port.prove.proof import Proof
from cordee.port.setting import Setting

ROOT = Path(__file__).parents[3]


def finding(
    code: str = "x.cuda()",
    *,
    tie: str = "",
    path: str = "a.py",
    before: str = "",
    line_end: str = "\n",
    new: str | None = None,
    safety: Safety = Safety.SAFE,
    rule: str = "NV203",
    meaning: Meaning = Meaning.RENAMED,
    effort: Effort = Effort.S,
    confidence: Confidence = Confidence.CERTAIN,
    says: str = "`.cuda()` moves to CUDA",
    advice: str = "",
    source: str = "",
) -> Finding:
    """A finding of `tie` in the lines `code`, which stand in a file after the text `before`."""
    at = code.index(tie)
    tie = tie or code
    start = len(before) + len(code[:at].replace("\n", line_end))
    end = start + len(tie.replace("\n", line_end))
    first = before.count("\n") + 1
    return Finding(
        rule=rule,
        path=path,
        kind="python",
        line=first,
        column=at + 1,
        end_line=first + code.count("\n"),
        end_column=len((code[:at] + tie).split("\n")[-1]) + 1,
        start=start,
        end=end,
        code=code,
        says=says,
        meaning=meaning,
        advice=advice,
        effort=effort,
        confidence=confidence,
        source=source,
        fix=None if new is None else Fix((Edit(start, end, new),), safety),
    )


def assessment(
    *found: Finding, root: str = "project", files: tuple[Judged, ...] = ()
) -> Assessment:
    """An assessment of the files that these findings are in, and of others."""
    by_path: dict[str, list[Finding]] = {}
    for each in found:
        by_path.setdefault(each.path, []).append(each)
    judged = [Judged(path, "python", 100, tuple(own)) for path, own in by_path.items()]
    return Assessment(root, "", "portable", "2.13", (*judged, *files))


def of_folder(folder: Path) -> Assessment:
    """What is found in the Python files of a folder."""
    judged = []
    for path in sorted(folder.rglob("*.py")):
        name, data = path.relative_to(folder).as_posix(), path.read_bytes()
        opened = document(name, data, Setting())
        assert opened is not None
        judged.append(Judged(name, "python", data.count(b"\n"), tuple(findings(opened))))
    return Assessment(folder.name, "0123456789abcdef", "portable", "2.13", tuple(judged), others=3)


@dataclass(frozen=True)
class Left:
    """What a port did not rewrite."""

    finding: Finding
    why: str


@dataclass(frozen=True)
class Result:
    """What came of a port."""

    made: list[Finding] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    new: list[NewFile] = field(default_factory=list)
    proof: Proof | None = None
