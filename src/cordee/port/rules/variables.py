"""NV70: environment variables that are set, in whatever file; which they are says environment.toml."""

import re
from collections.abc import Iterator

from cordee.port.documents.words import Assignment
from cordee.port.finding import Edit, Fix, Meaning
from cordee.port.python.file import Span
from cordee.port.rule import Document, Family, Match
from cordee.port.rules.environment import Translation, translation

PATHS = frozenset({
    "PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH",
    "LD_PRELOAD", "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "LDFLAGS", "CFLAGS", "CXXFLAGS",
})  # fmt: skip
SET_ENV = (
    "where CANN is, /usr/local/Ascend/ascend-toolkit/set_env.sh sets these paths: source it; "
    "a folder of CUDA's that is not there does no harm"
)
PLAIN = re.compile(r"[^\s'\"\\`|;&<>]*")  # what stands for itself in every file, quoted or not

family = Family(
    "variables",
    "Environment variables",
    ("cuda", "nvidia", "nccl", "cudnn", "cublas", "nvcc", "nvtx", "nvte", "nvshmem", "ds_accel"),
    skips=("python", "requirements"),
)


@family.rule(701, "an environment variable of NVIDIA's is set", Assignment)
def assigned(node: Assignment, document: Document) -> Iterator[Match]:
    found = translation(node.name, node.value.value)
    if found is None:
        return
    other = found.name if found.name != node.name else ""
    if other and re.search(rf"\b{other}\b", _heard(node, document)):
        return
    yield Match(
        node.span,
        found.says,
        _fix(node, found, document),
        found.advice,
        found.meaning,
        found.effort,
        found.confidence,
        found.source,
    )


@family.rule(
    702, "a path leads to CUDA", Assignment, meaning=Meaning.RUNS, advice=SET_ENV,
    source="github.com/vllm-project/vllm-ascend Dockerfile",
)  # fmt: skip
def paths(node: Assignment, document: Document) -> Iterator[Match]:
    if node.name in PATHS and re.search(r"cuda|cudnn|nccl|nvidia", node.value.text, re.IGNORECASE):
        yield Match(node.span, f"`{node.name}` is told where CUDA is")


def _heard(node: Assignment, document: Document) -> str:
    """Where the counterpart may be set as well: the command, or the whole file."""
    return document.source.text if node.exported else node.nearby


def _fix(node: Assignment, found: Translation, document: Document) -> Fix | None:
    if found.value is None or not found.name:
        return None
    value = node.value
    written = (
        value.text
        if found.value == value.value
        else _rewritten(value.text, value.value, found.value)
    )
    if written is None or (written == value.text and found.name == node.name):
        return None
    if document.setting.portable or _is_read(node, document):
        more = node.more(found.name, written)
        if found.name == node.name or not more or _is_exported_later(node, document):
            return None
        return Fix((Edit(node.span.end, node.span.end, more),), found.safety)
    name = Span(node.span.start, node.span.start + len(node.name))
    edits = [Edit(name.start, name.end, found.name)] if found.name != node.name else []
    if written != value.text:
        edits.append(Edit(value.span.start, value.span.end, written))
    return Fix(tuple(edits), found.safety) if edits else None


def _is_read(node: Assignment, document: Document) -> bool:
    """Whether the file uses the variable as well: it cannot lose its name then."""
    return re.search(rf"\$\{{?{node.name}\b", document.source.text) is not None


def _is_exported_later(node: Assignment, document: Document) -> bool:
    """`NAME=value`, and elsewhere `export NAME`."""
    return re.search(rf"export[^\n;]*\s{node.name}\b(?!=)", document.source.text) is not None


def _rewritten(text: str, old: str, new: str) -> str | None:
    """`text`, which holds the value `old`, with another; None where quotes would be needed."""
    if not PLAIN.fullmatch(new):
        return None
    return text.replace(old, new) if old and text.count(old) == 1 else None
