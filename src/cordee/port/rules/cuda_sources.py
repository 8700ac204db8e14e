"""NV62: C++ and CUDA sources. Kernels are listed one by one, names by what they belong to."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

from cordee.core.facts import Fact, rows
from cordee.port.documents.cpp import ASSEMBLY, CppFile, Include, Kernel, Launches, Texts, Words
from cordee.port.finding import Confidence, Effort, Meaning
from cordee.port.python.extensions import SHIM, kernel_formula, stands
from cordee.port.python.file import Span
from cordee.port.rule import Family, Match

HINTS = (
    "cuda", "nccl", "cudnn", "cublas", "cufft", "curand", "cusparse", "cusolver", "nvrtc", "nvml",
    "nvidia", "nvtx", "nvshmem", "cutlass", "thrust", "cub/", "cub::", "cute/", "cute::",
    "__global__", "__device__", "<<<", "cooperative_groups", "npp", "nvjpeg", "tensorrt", "nvinfer",
)  # fmt: skip
MENTION = re.compile(r"cuda|nccl|nvidia|cudnn|cublas|nvrtc|tensorrt", re.IGNORECASE)
TIE = re.compile(r"\bcuda\b|\bnccl\b|nvidia|libcud|libnccl|\.cubin|\.ptx|\bsm_\d\d", re.IGNORECASE)
SHOWN = 30  # names that a finding lists
TABLE = "cuda_sources.toml"
ASCEND_C = "https://www.hiascend.com/document/detail/en/canncommercial/850/opdevg/Ascendcopdevg/atlas_ascendc_10_0071.html"
family = Family("cuda_sources", "C++ and CUDA sources", HINTS, each=frozenset({622, 629}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(Fact):
    """Names of CUDA's, by a pattern of all of the name."""

    group: str
    pattern: str
    ascend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header(Fact):
    """Headers of CUDA's, by a pattern of all of the path."""

    pattern: str
    ascend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known(Fact):
    """What many repositories have a kernel for, by a pattern in the kernel's or file's name."""

    pattern: str
    what: str
    instead: str


@dataclass(frozen=True, slots=True)
class Use:
    """One name in one file."""

    name: str
    row: Name
    places: tuple[Span, ...]


@family.rule(
    621, "a kernel is written in CUDA", Kernel, meaning=Meaning.MISSING, effort=Effort.L,
    advice="write it in PyTorch, in Triton for triton-ascend, or in Ascend C",
    source=ASCEND_C,
)  # fmt: skip
def kernel(node: Kernel, file: CppFile) -> Iterator[Match]:
    known = known_kernel(node.name) or known_kernel(PurePosixPath(file.source.path).stem)
    says = f"`{node.name}` is a kernel for NVIDIA's chips"
    found = kernel_formula(node.name, PurePosixPath(file.source.path).stem)
    if found is not None:
        advice = f"its extension, imported through `{SHIM}`: {stands(found)}"
        yield Match(
            node.span, says, advice=advice, effort=Effort.S, confidence=Confidence.LIKELY,
            source=found.source,
        )  # fmt: skip
        return
    ways = "write it in PyTorch, in Triton for triton-ascend, or in Ascend C"
    if known is None:
        yield Match(node.span, says, advice=f"{ways}; {stands(None)}")
        return
    advice = f"by its name it computes {known.what}: {known.instead}; {stands(None)}"
    yield Match(node.span, says, advice=advice, effort=Effort.M, confidence=Confidence.LIKELY)


@family.rule(
    622, "kernels are launched", Launches, meaning=Meaning.MISSING, effort=Effort.M,
    advice="Ascend C kernels are launched with <<<blocks, nullptr, stream>>> of one dimension",
    source=ASCEND_C,
)  # fmt: skip
def launches(node: Launches, file: CppFile) -> Iterator[Match]:
    if node.spans:
        says = f"{_times(len(node.spans), 'kernel launch', 'es')} <<<...>>>"
        yield Match(node.spans[0], says, also=tuple(node.spans[1:]))


@family.rule(623, "a header of CUDA is included", Include, effort=Effort.M)
def include(node: Include, file: CppFile) -> Iterator[Match]:
    path = node.path.replace("\\", "/")
    row = next((row for row, pattern in _headers() if pattern.fullmatch(path)), None)
    if row is None:
        if MENTION.search(path):
            says = f"`{path}` is a header that names NVIDIA"
            yield Match(node.span, says, advice="look into it", confidence=Confidence.UNSURE)
        return
    meaning = Meaning.RENAMED if row.ascend else Meaning.MISSING
    advice = row.ascend or "what is used of it must be written anew"
    says = f"`{path}` is a header of CUDA's"
    yield Match(node.span, says, advice=advice, meaning=meaning, source=row.source)


@family.rule(624, "C++ of PyTorch for CUDA", Words, meaning=Meaning.RENAMED, effort=Effort.M)
def torch(node: Words, file: CppFile) -> Iterator[Match]:
    yield from _group(node, "torch", "of PyTorch's C++ interface to CUDA")


@family.rule(625, "C++ asks for CUDA devices", Words, meaning=Meaning.RENAMED, effort=Effort.M)
def device(node: Words, file: CppFile) -> Iterator[Match]:
    yield from _group(node, "device", "that ask for or name a CUDA device")


@family.rule(626, "CUDA's runtime is called", Words, meaning=Meaning.RENAMED, effort=Effort.M)
def runtime(node: Words, file: CppFile) -> Iterator[Match]:
    yield from _group(node, "runtime", "of CUDA's runtime or driver")


@family.rule(627, "a library of NVIDIA is called", Words, meaning=Meaning.MISSING, effort=Effort.L)
def library(node: Words, file: CppFile) -> Iterator[Match]:
    groups = dict.fromkeys(use.row.group for use in _uses(node))
    for group in groups:
        if group.startswith("library:"):
            yield from _group(node, group, f"of {group.removeprefix('library:')}")


@family.rule(628, "code of the device in CUDA", Words, meaning=Meaning.MISSING, effort=Effort.L)
def language(node: Words, file: CppFile) -> Iterator[Match]:
    yield from _group(node, "language", "of CUDA's language for kernels")


@family.rule(
    629, "assembly of NVIDIA's chips", Words, meaning=Meaning.MISSING, effort=Effort.L,
    advice="PTX means nothing on Ascend: write what it does in Ascend C", source=ASCEND_C,
)  # fmt: skip
def assembly(node: Words, file: CppFile) -> Iterator[Match]:
    places = _ordered(s for word in ASSEMBLY for s in node.places.get(word, ()))
    of_cuda = file.kind == "cuda" or "__device__" in node.places
    if places and of_cuda:
        says = f"{_times(len(places), 'piece')} of PTX assembly"
        yield Match(places[0], says, also=tuple(places[1:]))


@family.rule(
    630, "C++ is compiled differently for CUDA", Words, meaning=Meaning.RUNS, effort=Effort.M
)
def condition(node: Words, file: CppFile) -> Iterator[Match]:
    yield from _group(node, "condition", "that tell the compiler about CUDA")


@family.rule(
    631, "a text in C++ names NVIDIA", Texts, meaning=Meaning.RUNS,
    advice="if it chooses a device, backend or library, let it do so for an NPU too",
)  # fmt: skip
def text(node: Texts, file: CppFile) -> Iterator[Match]:
    for said, places in node.places.items():
        if TIE.search(said) and " " not in said.strip():
            yield Match(
                places[0], f'"{said}" may mean a device', confidence=Confidence.UNSURE,
                also=tuple(places[1:]),
            )  # fmt: skip


@family.rule(
    632, "a name in C++ says CUDA", Words, meaning=Meaning.RUNS, effort=Effort.S,
    advice="names of the repository's own: nothing to do but where what they stand for is CUDA's",
)  # fmt: skip
def mention(node: Words, file: CppFile) -> Iterator[Match]:
    known = {use.name for use in _uses(node)}
    own = {n: spans for n, spans in node.places.items() if n not in known and MENTION.search(n)}
    if own:
        first, *others = _ordered(span for spans in own.values() for span in spans)
        says = f"{_listed({n: len(spans) for n, spans in own.items()})} name NVIDIA"
        yield Match(first, says, confidence=Confidence.UNSURE, also=tuple(others))


def known_kernel(name: str) -> Known | None:
    """What a kernel or file of this name most likely computes."""
    return next((row for row, pattern in _known() if pattern.search(name)), None)


def _group(node: Words, group: str, says: str) -> Iterator[Match]:
    """One finding for all names of a group."""
    uses = [use for use in _uses(node) if use.row.group == group]
    if not uses:
        return
    first, *others = _ordered(place for use in uses for place in use.places)
    counts = {use.name: len(use.places) for use in uses}
    pairs = [f"{use.name} is {use.row.ascend}" for use in uses if use.row.ascend]
    if len({use.row.ascend for use in uses}) == 1 and uses[0].row.ascend:
        pairs = [uses[0].row.ascend]
    missing = [use.name for use in uses if not use.row.ascend]
    if missing and pairs:
        pairs.append(f"without a counterpart in the table: {', '.join(missing[:SHOWN])}")
    advice = "; ".join(pairs) or "there is no counterpart in the table: write it anew"
    meaning = Meaning.MISSING if len(missing) == len(uses) else None
    if group == "condition":
        meaning = None
    total = sum(counts.values())
    words = f"{_listed(counts)}: {_times(total, 'use')} of names {says}"
    yield Match(
        first, words, advice=advice, meaning=meaning, source=uses[0].row.source,
        also=tuple(others),
    )  # fmt: skip


def _ordered(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span.start)


_LAST: dict[int, tuple[Words, list[Use]]] = {}  # of the file that was asked about last


def _uses(node: Words) -> list[Use]:
    found = _LAST.get(0)
    if found is None or found[0] is not node:
        found = (
            node,
            [
                Use(name, row, tuple(spans))
                for name, spans in node.places.items()
                if (row := _row(name)) is not None
            ],
        )
        _LAST[0] = found
    return found[1]


@cache
def _row(name: str) -> Name | None:
    return next((row for row, pattern in _names() if pattern.fullmatch(name)), None)


def _listed(counts: dict[str, int]) -> str:
    most = sorted(counts, key=lambda name: -counts[name])
    shown = ", ".join(f"`{name}`" for name in most[:SHOWN])
    more = len(most) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _times(count: int, what: str, plural: str = "s") -> str:
    return f"{count} {what}{plural if count != 1 else ''}"


@cache
def _names() -> list[tuple[Name, re.Pattern[str]]]:
    path = files(__package__) / TABLE
    return [(row, re.compile(row.pattern)) for row in rows(path, Name, table="name")]


@cache
def _headers() -> list[tuple[Header, re.Pattern[str]]]:
    path = files(__package__) / TABLE
    return [(row, re.compile(row.pattern)) for row in rows(path, Header, table="header")]


@cache
def _known() -> list[tuple[Known, re.Pattern[str]]]:
    path = files(__package__) / TABLE
    every = rows(path, Known, table="known")
    return [(row, re.compile(row.pattern, re.IGNORECASE)) for row in every]
