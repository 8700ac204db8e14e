"""Reads rule cases from Markdown: the page that a person reads is the test that we run.

A block such as ```py holds source, with `# NV101` behind each line on which a finding begins (in
other languages `// NV101` or `<!-- NV101 -->`; `~` between two: `# NV101 NV203`). Blocks with a
second word say what it becomes: `portable`, `native`, or `unsafe` (portable, with unsafe fixes
too); where there is none, it stays as it is. `file=NAME` names the file, where its name decides
what it is. In blocks `shadowed` or `runtime` the rules that a name of the program's own, or one
chosen at run time, keeps silent stand behind the line: `# not NV101`. A block of which nothing is
to be tested is written ```text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(`{3,})(\w+)([^\n`]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
CODES = r"NV\d{3}(?: NV\d{3})*"
MARK = re.compile(
    rf" *(?:#|//|<!--|--) (?=NV|not NV)(?P<fires>{CODES})?(?: ?not (?P<silent>{CODES}))?(?: -->)?$",
    re.MULTILINE,
)
NAMES = {
    "py": "case.py",
    "sh": "case.sh",
    "dockerfile": "Dockerfile",
    "yaml": "case.yaml",
    "toml": "pyproject.toml",
    "txt": "requirements.txt",
    "cpp": "case.cpp",
    "cu": "case.cu",
    "cmake": "CMakeLists.txt",
    "make": "Makefile",
    "json": "case.json",
    "md": "case.md",
    "ipynb": "case.ipynb",
}
RESULTS = ("portable", "native", "unsafe")
KINDS = ("shadowed", "runtime")


@dataclass
class Case:
    id: str
    name: str  # of the file
    source: str
    expected: list[tuple[int, str]]  # line, code
    silent: list[tuple[int, str]]  # what would be found, were the name another
    kind: str = ""  # of KINDS
    results: dict[str, str] = field(default_factory=dict)

    def result(self, style: str) -> str:
        if style == "unsafe" and "unsafe" not in self.results:
            style = "portable"
        return self.results.get(style, self.source)


def read(path: Path) -> Iterator[Case]:
    text = path.read_text()
    case: Case | None = None
    for block in FENCE.finditer(text):
        language, words, body = block[2], block[3].split(), block[4]
        if language not in NAMES:
            continue
        if words and words[0] in RESULTS:
            assert case is not None, f"{path}: {words[0]} without a source before it"
            case.results[words[0]] = body
            continue
        if case is not None:
            yield case
        named = next((w.removeprefix("file=") for w in words if w.startswith("file=")), None)
        line = text.count("\n", 0, block.start()) + 1
        case = Case(
            f"{path.stem}:{line}",
            named or NAMES[language],
            MARK.sub("", body),
            list(_marked(body, "fires")),
            list(_marked(body, "silent")),
            next((word for word in words if word in KINDS), ""),
        )
    if case is not None:
        yield case


def _marked(body: str, group: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(body.splitlines(), start=1):
        mark = MARK.search(line)
        for code in ((mark and mark[group]) or "").split():
            yield number, code
