"""NV79: lines that speak of NVIDIA, of which no rule knows more."""

from collections.abc import Iterator

from cordee.port.documents.notebook import BrokenCell
from cordee.port.documents.words import Mention
from cordee.port.finding import Confidence, Meaning
from cordee.port.rule import Document, Family, Match
from cordee.port.rules.environment import translation

family = Family(
    "mentions",
    "Other lines that speak of NVIDIA",
    (
        "cuda",
        "nccl",
        "nvidia",
        "cudnn",
        "cublas",
        "cutlass",
        "nvcc",
        "nvcr",
        "nsys",
        "nvml",
        "dcgm",
    ),
    skips=("python",),
    last=True,
)


@family.rule(
    798, "a cell of a notebook is not Python", BrokenCell, meaning=Meaning.RUNS,
    advice="nothing is said about it, and nothing in it changed: look at it yourself",
    source="read by Python's own parser",
)  # fmt: skip
def broken(node: BrokenCell, document: Document) -> Iterator[Match]:
    if any(hint in node.text.lower() for hint in family.hints):
        says = "a cell that does not parse speaks of NVIDIA"
        yield Match(node.span, says, confidence=Confidence.UNSURE)


@family.rule(
    799, "a line speaks of NVIDIA", Mention, meaning=Meaning.RUNS,
    advice="see what it is for; no rule knows",
    source="the words on the line",
)  # fmt: skip
def mentioned(node: Mention, document: Document) -> Iterator[Match]:
    if _is_answered(node.word, document):
        return
    yield Match(node.span, f"`{node.word}` speaks of NVIDIA", confidence=Confidence.UNSURE)


def _is_answered(word: str, document: Document) -> bool:
    """Whether it is a variable whose counterpart is set in the same file."""
    found = translation(word, None) if word.isupper() else None
    return found is not None and bool(found.name) and found.name in document.source.text
