"""NV53: imports of functions and layers made for CUDA, from modules for any chip."""

import ast
from collections.abc import Iterator

from cordee.port.finding import Effort, Meaning
from cordee.port.python.attempts import attempted
from cordee.port.python.file import PythonFile
from cordee.port.python.neighbours import own
from cordee.port.python.replacements import is_shim, replaced
from cordee.port.rule import Family, Match

family = Family(
    "replaced", "Functions of libraries made for CUDA",
    ("flash_attn", "xformers", "apex", "transformer_engine"),
)  # fmt: skip


@family.rule(
    531, "a function or layer of flash_attn or xformers is imported", ast.Import, ast.ImportFrom,
    meaning=Meaning.SIGNATURE,
)  # fmt: skip
def attention(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    yield from _imported(node, file, ("flash_attn", "xformers"))


@family.rule(
    532, "an optimizer or norm of apex is imported", ast.Import, ast.ImportFrom,
    meaning=Meaning.SIGNATURE,
)  # fmt: skip
def optimizers(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    yield from _imported(node, file, ("apex",))


@family.rule(
    533, "a layer, optimizer or loss of Transformer Engine is imported", ast.Import, ast.ImportFrom,
    meaning=Meaning.SIGNATURE,
)  # fmt: skip
def layers(node: ast.Import | ast.ImportFrom, file: PythonFile) -> Iterator[Match]:
    yield from _imported(node, file, ("transformer_engine",))


def _imported(
    node: ast.Import | ast.ImportFrom, file: PythonFile, libraries: tuple[str, ...]
) -> Iterator[Match]:
    found = replaced(file, node)
    if found is None or is_shim(file):
        return
    library = found.rows[0].module.partition(".")[0]
    if library not in libraries or own(file, found.rows[0].module):
        return
    names = ", ".join(f"`{name}`" for name in found.names)
    says = f"{names} of {library}: for NVIDIA only"
    meaning, effort = None, Effort.S
    if attempted(file, node):
        says = f"{says}; where that is missing, as on Ascend, the file goes on without"
        meaning = Meaning.RUNS
    remarks = [row.remark for row in found.rows if row.remark]
    advice = f"`{found.shim}` has the same functions for Ascend, NVIDIA and the host"
    yield Match(
        file.span(node), says, found.fix, advice="; ".join([advice, *dict.fromkeys(remarks)]),
        meaning=meaning, effort=effort, source=found.rows[0].source,
    )  # fmt: skip
