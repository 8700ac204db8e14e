"""NV001: files that are not what their names say are searched as text, so that nothing is missed."""

import re
from collections.abc import Iterator

from cordee.port.finding import Confidence, Effort, Finding, Meaning
from cordee.port.rule import Rule
from cordee.port.source import Source

NAMES = re.compile(r"[^\r\n]*?(?i:cuda|nccl|cudnn|nvidia)[^\r\n]*")
RULE = Rule(
    code="NV001",
    title="a file that cannot be parsed names CUDA",
    nodes=(),
    check=lambda node, document: iter(()),
    meaning=Meaning.RENAMED,
    effort=Effort.M,
    advice="mend the file so that it can be read as what it is, then assess it again; "
    "until then its lines are left as they are",
    source="the file itself",
    family="unreadable",
)


def mentions(path: str, kind: str, data: bytes) -> Iterator[Finding]:
    """The lines of a file that name CUDA; their meaning is not known."""
    source = Source(path, data.decode("utf-8", errors="replace"))
    for match in NAMES.finditer(source.text):
        line, column = source.position(match.start())
        yield Finding(
            rule=RULE.code,
            path=path,
            kind=kind,
            line=line,
            column=column,
            end_line=line,
            end_column=column + len(match[0]),
            start=match.start(),
            end=match.end(),
            code=match[0],
            says="the line names CUDA",
            meaning=RULE.meaning,
            advice=RULE.advice,
            effort=RULE.effort,
            confidence=Confidence.UNSURE,
            source=RULE.source,
        )
