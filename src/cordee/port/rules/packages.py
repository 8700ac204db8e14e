"""NV90: packages made for NVIDIA, wherever pip or conda is asked for them; packages.toml has them.

A file of requirements cannot tell NVIDIA from Ascend: no marker of Python's knows the chip. So a
portable port leaves it and proposes a file beside it; a native one rewrites it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from cordee.port.documents.entries import Entry
from cordee.port.documents.requirement import Requirement, conda_requirement, pip_requirement
from cordee.port.documents.requirements import Index
from cordee.port.documents.words import Command, Word
from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning, Safety
from cordee.port.python.file import PythonFile, Span
from cordee.port.rule import Document, Family, Match
from cordee.port.rules import pairs
from cordee.port.rules.known_packages import Package, hints, package

INDEX = re.compile(
    r"https?://download\.pytorch\.org/whl/(?:[a-z]+/)?(?P<build>cu\d+)"
    r"|https?://(?:pypi\.(?:ngc\.)?nvidia\.com|developer\.download\.nvidia\.com)"
    r"|https?://\S*[/+\-](?:cu\d{2,3}|cuda)\b"
)
WHEELS = "github.com/vllm-project/vllm-ascend Dockerfile (PYTORCH_INDEX_URL)"
SYSTEM = re.compile(
    r"(?:lib)?(?:cuda|nvidia|cudnn|nccl|cublas|tensorrt|nvinfer|nsight)", re.IGNORECASE
)
BUILD = re.compile(r"(\d[\w.]*)\+cu\d+")
LISTED = ("install_requires", "extras_require", "setup_requires", "tests_require")

family = Family("packages", "Packages", ("torch", *hints()), skips=("python",), shared=True)
setup = Family("setup", "Packages that setup.py asks for", LISTED, shared=True)


@family.rule(
    901, "PyTorch is installed", Requirement, Command, meaning=Meaning.SIGNATURE,
    source=pairs.SOURCE,
)  # fmt: skip
def torch(node: Requirement | Command, document: Document) -> Iterator[Match]:
    if re.search(r"torch[-_]npu", document.source.text):
        return
    for asked in _asked(node):
        if asked.build and not asked.build.startswith(("cu", "cpu")):
            continue  # for another chip
        if asked.name == "torch" or (
            asked.manager == "conda" and asked.name in ("pytorch", "pytorch-gpu")
        ):
            pair = pairs.pair(asked, document.setting.torch)
            fix = pairs.fix(asked, pair, document)
            effort = Effort.S if pair.kept else Effort.M
            yield Match(
                asked.span,
                f"`{asked.text}` needs torch-npu beside it",
                fix,
                pair.advice,
                effort=effort,
            )


@family.rule(902, "a package is made for NVIDIA", Requirement, Command)
def made_for_nvidia(node: Requirement | Command, document: Document) -> Iterator[Match]:
    for asked in _asked(node):
        row = package(asked.name, asked.extras)
        if row is not None and asked.name != "torch" and not _is_answered(row, document):
            yield _told(asked, row, document)


@family.rule(
    903, "packages are taken from where those for CUDA are", Index, Command, Entry,
    meaning=Meaning.SIGNATURE, source=WHEELS,
    advice="torch-npu goes with torch for the CPU: https://download.pytorch.org/whl/cpu, or PyPI on "
    "aarch64; keep this one for NVIDIA",
)  # fmt: skip
def index(node: Index | Command | Entry, document: Document) -> Iterator[Match]:
    for span, text in _urls(node):
        for match in INDEX.finditer(text):
            fix = None
            if match["build"] and not document.setting.portable:
                start = span.start + match.start("build")
                fix = Fix((Edit(start, start + len(match["build"]), "cpu"),))
            place = Span(span.start + match.start(), span.start + match.end())
            yield Match(place, f"`{match[0]}` has packages for CUDA", fix)


@family.rule(
    904, "a channel of conda is NVIDIA's", Entry, Command, meaning=Meaning.RUNS,
    advice="leave it out where nothing is taken from it", source="https://anaconda.org/nvidia",
)  # fmt: skip
def channel(node: Entry | Command, document: Document) -> Iterator[Match]:
    if isinstance(node, Entry):
        if "channels" in node.keys and node.value and node.value.startswith("nvidia"):
            yield Match(node.span, f"`{node.value}` is NVIDIA's channel")
    elif node.program in ("conda", "mamba", "micromamba"):
        for before, word in zip(node.words, node.words[1:], strict=False):
            if before.value in ("-c", "--channel") and word.value.startswith("nvidia"):
                yield Match(word.span, f"`{word.value}` is NVIDIA's channel")


@family.rule(
    905, "a build for CUDA is asked for", Requirement, Command, meaning=Meaning.SIGNATURE,
    advice="the same version without +cu..., which is the build for the CPU on its index",
    source=WHEELS,
)  # fmt: skip
def build(node: Requirement | Command, document: Document) -> Iterator[Match]:
    for asked in _asked(node):
        match = BUILD.search(asked.text)
        if match is None or asked.name == "torch" or asked.direct:
            continue
        start = asked.span.start + match.end(1)
        edit = Edit(start, asked.span.start + match.end(), "")
        fix = None if document.setting.portable else Fix((edit,))
        yield Match(asked.span, f"`{asked.text}` is a build for CUDA", fix)


@family.rule(
    906, "software of NVIDIA's is installed", Command, meaning=Meaning.MISSING, effort=Effort.M,
    advice="the driver, firmware and CANN of Ascend come from their own packages, or with an image "
    "such as quay.io/ascend/cann", source="github.com/vllm-project/vllm-ascend Dockerfile",
)  # fmt: skip
def system(node: Command, document: Document) -> Iterator[Match]:
    manager = node.program in ("apt-get", "apt", "yum", "dnf", "zypper", "apk", "brew", "microdnf")
    if not manager:
        return
    for word in node.arguments:
        if SYSTEM.match(word.value) and not word.value.startswith("-"):
            yield Match(word.span, f"`{word.value}` is NVIDIA's")


@setup.rule(907, "setup.py asks for a package made for NVIDIA", ast.Constant)
def required(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    if PurePosixPath(file.source.path).name != "setup.py" or not isinstance(node.value, str):
        return
    if not isinstance(file.parent(node), (ast.List, ast.Tuple, ast.Set)) or not _is_listed(
        node, file
    ):
        return
    asked = pip_requirement(node.value, file.span(node).start, "", file.source.text)
    row = package(asked.name, asked.extras) if asked else None
    if asked is not None and row is not None:
        runs = row.meaning == "runs as is"
        says = f"`{node.value}` {'knows Ascend' if runs else 'is made for NVIDIA'}"
        meaning, effort = Meaning(row.meaning), _effort(row)
        advice = row.advice
        if not runs:
            advice += "; an extra of its own lets Ascend be installed without it"
        confidence = Confidence(row.confidence)
        yield Match(file.span(node), says, None, advice, meaning, effort, confidence, row.source)


def _asked(node: Requirement | Command) -> Iterator[Requirement]:
    """The packages that a requirement, or a command that installs, asks for."""
    if isinstance(node, Requirement):
        yield node
        return
    words = [word.value for word in node.words]
    if "install" not in words and not {"add", "create"} & set(words[1:3]):
        return
    conda = node.program in ("conda", "mamba", "micromamba")
    pip = re.match(r"pip[\d.]*$|uv$|poetry$|pipenv$|pdm$|pipx$|python[\d.]*$", node.program)
    if pip and node.program.startswith("python") and "pip" not in words:
        return
    if conda or pip:
        yield from _arguments(node, conda)


def _arguments(node: Command, conda: bool) -> Iterator[Requirement]:
    skipped = {"-r", "-c", "-i", "-f", "-n", "-p", "-t", "--index-url", "--extra-index-url", "--find-links",
               "--requirement", "--constraint", "--name", "--channel", "--target", "--prefix", "--python",
               "--index", "--group", "-G", "--trusted-host", "--progress-bar", "--file"}  # fmt: skip
    before = ""
    for word in node.arguments:
        option = word.value.startswith("-")
        if (
            not option
            and before not in skipped
            and word.value not in ("install", "add", "pip", "-m", "create")
        ):
            found = _one(word, conda)
            if found is not None:
                yield found
        before = word.value


def _one(word: Word, conda: bool) -> Requirement | None:
    quoted = word.text[:1] in "\"'" and word.text[-1:] == word.text[:1]
    start = word.span.start + quoted
    if conda:
        return conda_requirement(word.value, start, "")
    another = "" if quoted else " {requirement}"
    return pip_requirement(word.value, start, another, "")


def _told(asked: Requirement, row: Package, document: Document) -> Match:
    return Match(
        asked.span,
        f"`{asked.text}` is made for NVIDIA"
        if row.meaning != "runs as is"
        else f"`{asked.text}` knows Ascend",
        _swapped(asked, row, document),
        row.advice,
        Meaning(row.meaning),
        _effort(row),
        Confidence(row.confidence),
        row.source,
    )


def _effort(row: Package) -> Effort:
    """Of the line that asks for it: what takes days are its uses, which are told where they are."""
    return Effort.M if row.effort == "L" else Effort(row.effort)


def _swapped(asked: Requirement, row: Package, document: Document) -> Fix | None:
    """The counterpart in its place, whose versions are others."""
    if document.setting.portable or not row.native or asked.manager != "pip" or asked.direct:
        return None
    said = re.split(r"\s*;|\s+--|\s+\\", asked.text)[0]
    edit = Edit(asked.span.start, asked.span.start + len(said), row.native)
    return Fix((edit,), Safety.UNSAFE)


def _is_answered(row: Package, document: Document) -> bool:
    """Whether the counterpart is asked for in the same file: both are offered."""
    return bool(row.native) and row.native in document.source.text


def _urls(node: Index | Command | Entry) -> Iterator[tuple[Span, str]]:
    if isinstance(node, Index):
        yield node.url.span, node.url.text
    elif isinstance(node, Command):
        for word in node.words:
            if "://" in word.text and len(word.text) < 1000 and "\n" not in word.text:
                yield word.span, word.text
    elif (
        node.inner is not None
        and node.value
        and "://" in node.value
        and len(node.value.split()) == 1
    ):
        yield node.inner, node.value


def _is_listed(node: ast.AST, file: PythonFile) -> bool:
    """Whether a list is one of packages: behind such a keyword, or under such a name."""
    parent = file.parent(node)
    while parent is not None and not isinstance(parent, ast.stmt):
        if isinstance(parent, ast.keyword) and parent.arg in LISTED:
            return True
        parent = file.parent(parent)
    match parent:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return bool(
                re.search(r"requires?|requirements|deps|dependencies|extras", name, re.IGNORECASE)
            )
    return False
