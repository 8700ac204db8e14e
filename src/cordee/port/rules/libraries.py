"""NV5: libraries that are made for CUDA, or that treat its chips apart. The table says what to do."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Confidence, Effort, Meaning
from cordee.port.python.attempts import attempted
from cordee.port.python.extensions import compiled
from cordee.port.python.file import PythonFile, Span
from cordee.port.python.neighbours import own
from cordee.port.python.replacements import is_shim, replaced
from cordee.port.rule import Family, Match

FINDERS = frozenset({
    "importlib.util.find_spec", "importlib.metadata.version", "pkgutil.find_loader",
    "importlib.find_loader", "pkg_resources.get_distribution",
})  # fmt: skip
AVAILABLE = frozenset({
    "is_flash_attn_2_available", "is_flash_attn_3_available", "is_flash_attn_available",
    "is_apex_available", "is_xformers_available", "is_bitsandbytes_available",
    "is_triton_available", "is_torch_cuda_available", "is_cuda_platform", "is_liger_kernel_available",
    "is_mamba_ssm_available", "is_mamba_2_ssm_available", "is_causal_conv1d_available",
    "is_auto_gptq_available", "is_gptqmodel_available", "is_auto_awq_available",
    "is_transformer_engine_available", "is_flash_linear_attention_available",
    "is_torch_tensorrt_fx_available", "is_cupy_available", "is_pynvml_available",
})  # fmt: skip
SHORT = 7  # a name as short as this is looked for behind `import` and `from` only


@dataclass(frozen=True, slots=True, kw_only=True)
class Library(Fact):
    """A library, and the way over."""

    module: str  # as it is imported
    what: str
    meaning: str
    effort: str
    advice: str
    packages: str = ""  # as it is installed
    ascend: str = ""  # what stands for it there
    confidence: str = "certain"  # of what the row says; "unsure" where no page says it

    @property
    def runs(self) -> bool:
        """Whether it runs on Ascend as it is."""
        return self.meaning == "RUNS"


@cache
def libraries() -> dict[str, Library]:
    """The table, by module."""
    return {row.module: row for row in rows(files(__package__) / "libraries.toml", Library)}


def library(dotted: str) -> Library | None:
    """The row of the library that a name belongs to; the longest module that holds it."""
    parts = dotted.split(".")
    table = libraries()
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((table[name] for name in names if name in table), None)


def _hints() -> tuple[str, ...]:
    roots = sorted({name.partition(".")[0].lower() for name in libraries()})
    hints: list[str] = []
    for root in roots:
        if len(root) > SHORT or "_" in root:
            hints.append(root)
        else:
            hints += [f"import {root}", f"from {root}", f'"{root}"', f"'{root}'"]
    return (*hints, "_available")


family = Family("libraries", "Libraries made for CUDA", _hints(), shared=True)


@family.rule(
    501, "a library that is made for CUDA is imported", ast.Import, ast.ImportFrom,
    meaning=Meaning.MISSING, effort=Effort.M,
)  # fmt: skip
def made_for_cuda(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    for alias, row in _imported(node, file):
        if row.meaning in ("MISSING", "SLOWER"):
            yield _match(node, alias, row, file)


@family.rule(
    502, "a library that has another build or package for Ascend is imported",
    ast.Import, ast.ImportFrom, meaning=Meaning.SIGNATURE, effort=Effort.M,
)  # fmt: skip
def another_build(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    for alias, row in _imported(node, file):
        if row.meaning == "SIGNATURE":
            yield _match(node, alias, row, file)


@family.rule(
    503, "a library that runs on Ascend but knows of chips is imported",
    ast.Import, ast.ImportFrom, meaning=Meaning.RUNS,
)  # fmt: skip
def runs(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    for alias, row in _imported(node, file):
        if row.runs:
            yield _match(node, alias, row, file)


@family.rule(
    504, "code asks whether a library made for CUDA is installed", ast.Call,
    meaning=Meaning.RUNS, advice="it is not on Ascend: see to it that what runs then is meant to",
)  # fmt: skip
def asked_for(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    name = file.name(node.func) or ""
    if is_shim(file):
        return
    if name.rpartition(".")[2] in AVAILABLE:
        says = f"`{file.text(node)}` asks for a library or chip of CUDA's"
        yield Match(file.span(node), says)
        return
    match node.args:
        case [ast.Constant(value=str(module)), *_] if name in FINDERS:
            row = library(module.replace("-", "_"))
            if row is not None and not row.runs and not own(file, module):
                says = f"`{file.text(node)}` asks for {row.what}"
                advice = f"{_advice(row)}; without it, what runs then must be meant to"
                yield Match(
                    file.span(node), says, advice=advice, confidence=Confidence(row.confidence),
                    source=row.source,
                )  # fmt: skip


@family.rule(
    505, "a library made for CUDA is imported by its name in a text", ast.Call,
    meaning=Meaning.MISSING, effort=Effort.M,
)  # fmt: skip
def by_text(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    importing = ("importlib.import_module", "builtins.__import__", "pytest.importorskip")
    match node.args:
        case [ast.Constant(value=str(module)), *_] if file.name(node.func) in importing:
            row = library(module)
            if row is None or own(file, module) or is_shim(file):
                return
            meaning = Meaning[row.meaning]
            if attempted(file, node) or file.name(node.func) == "pytest.importorskip":
                meaning = Meaning.RUNS
            yield Match(
                file.span(node), f"`{module}` is {row.what}", advice=_advice(row),
                meaning=meaning, confidence=Confidence(row.confidence), source=row.source,
            )  # fmt: skip


def _imported(
    node: ast.Import | ast.ImportFrom, file: PythonFile
) -> Iterator[tuple[ast.alias, Library]]:
    """The libraries of one import statement, each once; not those that another family replaces."""
    if isinstance(node, ast.ImportFrom) and (node.level or node.module is None):
        return
    seen: set[str] = set()
    for alias in node.names:
        origin = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        dotted = f"{origin}{alias.name}"
        row = library(dotted)
        if row is None or row.module in seen or "nccl" in dotted.lower():
            continue  # what is NCCL's is another family's
        if row.module == "nvidia" and dotted != row.module:
            continue  # so are its other packages
        seen.add(row.module)
        if own(file, dotted) or is_shim(file):
            return
        loaded = isinstance(node, ast.Import) and compiled(file, dotted)
        if not loaded and replaced(file, node) is None:
            yield alias, row


def _match(
    node: ast.Import | ast.ImportFrom, alias: ast.alias, row: Library, file: PythonFile
) -> Match:
    says = f"`{row.module}` is {row.what}"
    meaning, effort = Meaning[row.meaning], Effort[row.effort]
    if attempted(file, node) and not row.runs:
        says = f"{says}; where it is missing, as on Ascend, the file goes on without it"
        meaning, effort = Meaning.RUNS, Effort.S
    span: Span = file.span(node if isinstance(node, ast.ImportFrom) else alias)
    return Match(
        span, says, advice=_advice(row), meaning=meaning, effort=effort,
        confidence=Confidence(row.confidence), source=row.source,
    )  # fmt: skip


def _advice(row: Library) -> str:
    return f"{row.advice} ({row.ascend})" if row.ascend and not row.runs else row.advice
