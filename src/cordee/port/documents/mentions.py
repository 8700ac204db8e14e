"""Lines that hold a word of NVIDIA's, for what no other rule understands."""

import re
from collections.abc import Iterable, Iterator

from cordee.port.documents.words import Mention
from cordee.port.python.file import Span
from cordee.port.source import Source

WORDS = re.compile(
    r"cuda|nccl|nvidia|cudnn|cublas|cutlass|nvcc|\bnvcr\b|\bnsys\b|\bnvml\b|\bdcgm", re.IGNORECASE
)
# NVIDIA as a company, not its chips: addresses, accounts, models that it has published, and the name
# of a chip that something was measured on, as its driver gives it.
COMPANY = re.compile(
    r"[\w.+-]+@[\w.-]*nvidia\.com|\bdocs\.nvidia\.com|\bgitlab[\w-]*\.nvidia\.com|\bsvcnvidia[\w-]*"
    r"|\bsecrets\.NVIDIA\w*|(?<![\w/.])NVIDIA(?:-NeMo)?/[\w.-]+|(?<![\w/.])nvidia/[A-Z][\w.-]*"
    r"|\bNVIDIA(?:'s|\ Corporation)\b|\"NVIDIA\ [A-Z][\w\ -]*\""
    r"|\b(?:name|owner|author|maintainer|organi[sz]ation|company)s?[\"']?\s*[:=]\s*[\"']?NVIDIA[\w-]*"
)
LONGEST = 300  # of what is kept of a line


def mentions(
    source: Source, quiet: Iterable[Span] = (), within: Span | None = None
) -> Iterator[Mention]:
    """The first word of NVIDIA's on each line, outside of the quiet places."""
    silent = sorted((span.start, span.end) for span in quiet)
    start, end = (within.start, within.end) if within else (0, len(source.text))
    at, passed, last = start, 0, -1
    while match := WORDS.search(source.text, at, end):
        while passed < len(silent) and silent[passed][1] <= match.start():
            passed += 1
        at = match.end()
        if passed < len(silent) and silent[passed][0] <= match.start():
            at = max(at, silent[passed][1])
            continue
        line = source.position(match.start())[0]
        if line != last and _is_company(source, line, match.start()):
            continue
        if line != last:
            text = source.line(line)[:LONGEST]
            yield Mention(text, _whole(source.text, match), Span(match.start(), match.end()))
        last = line


def _is_company(source: Source, line: int, at: int) -> bool:
    """Whether the word of NVIDIA's at this place of a line names no chip and no software."""
    column = at - source.line_starts[line - 1]
    named = COMPANY.finditer(source.line(line)) if column < LONGEST else ()
    return any(found.start() <= column < found.end() for found in named)


def _whole(text: str, match: re.Match[str]) -> str:
    """The word around what was found: nvidia-ml-py for nvidia."""
    start, end = match.span()
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] in "_-./"):
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] in "_-./"):
        end += 1
    return text[start:end][:60]
