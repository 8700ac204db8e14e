"""NV51: names, arguments and texts by which libraries are asked for CUDA."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Confidence, Edit, Effort, Fix, Meaning
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import unsafe
from cordee.port.python.neighbours import own
from cordee.port.python.replacements import is_shim
from cordee.port.rule import Family, Match
from cordee.port.rules.libraries import libraries

CUDA, CANN = "CUDAExecutionProvider", "CANNExecutionProvider"
SWITCHES = frozenset({
    "enable_xformers_memory_efficient_attention", "set_use_memory_efficient_attention_xformers",
    "set_attention_slice_xformers",
})  # fmt: skip
LOOSE = frozenset({"gpus", "gpu", "cuda", "use_gpu", "use_cuda", "accelerator"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Use(Fact):
    """An argument or text, and what it means on Ascend."""

    says: str
    meaning: str
    effort: str
    advice: str
    keyword: str = ""  # names of the argument
    values: list[str] = field(default_factory=list)  # none: any


@cache
def arguments() -> dict[str, list[Use]]:
    """The table of arguments, by their names."""
    found: dict[str, list[Use]] = {}
    for row in rows(files(__package__) / "library_uses.toml", Use, table="argument"):
        for name in row.keyword.split():
            found.setdefault(name, []).append(row)
    return found


@cache
def texts() -> dict[str, Use]:
    """The table of texts."""
    every = rows(files(__package__) / "library_uses.toml", Use, table="text")
    return {value: row for row in every for value in row.values}


@cache
def deep() -> frozenset[str]:
    """Names inside of libraries that have advice of their own, and no rule of their own."""
    return frozenset(n for n in libraries() if "." in n and n != "bitsandbytes.optim")


@cache
def _last_names() -> frozenset[str]:
    return frozenset(name.rpartition(".")[2] for name in deep())


family = Family(
    "library_uses", "What libraries are asked for",
    ("attn_implementation", "flash_att", "load_in_", "adam", "bnb", "8bit", "tf32",
     "half_precision_backend", "fp16_backend", "accelerator", "gpu", "cuda", "fp8", "gpu_hist",
     "executionprovider", "apex", "transformer_engine", "bitsandbytes", "xformers", "deepspeed",
     "faiss", "tensorflow", "paddle", "torchvision.ops", "torchvision", "bitsandbytesconfig",
     "gptqconfig", "awqconfig", "_32bit"),
    shared=True,
)  # fmt: skip


@family.rule(
    511, "a name of a library is used that is CUDA's", ast.Attribute,
    meaning=Meaning.SIGNATURE,
)  # fmt: skip
def name(node: ast.Attribute, file: PythonFile) -> Iterator[Match]:
    if node.attr not in _last_names():
        return
    dotted = file.name(node)
    if dotted is None or dotted not in deep() or is_shim(file):
        return
    if own(file, dotted):
        return
    row = libraries()[dotted]
    yield Match(
        file.span(node), f"`{dotted}` is {row.what}", advice=row.advice,
        meaning=Meaning[row.meaning], effort=Effort[row.effort], source=row.source,
    )  # fmt: skip


@family.rule(512, "an argument asks for what is CUDA's", ast.keyword, meaning=Meaning.SIGNATURE)
def argument(node: ast.keyword, file: PythonFile) -> Iterator[Match]:
    rows_ = arguments().get(node.arg or "", ())
    if rows_ and (file.called(file.parent(node)) or "").startswith("torch."):
        return  # another family's
    for row in rows_:
        sure = _value(node.value)
        if row.values and sure not in row.values:
            continue
        if sure in ("None", "0", "False", "auto") and not row.values:
            continue
        likely = Confidence.LIKELY if node.arg not in LOOSE else Confidence.UNSURE
        yield Match(
            file.span(node), f"`{file.text(node)}`: {row.says}", advice=row.advice,
            meaning=Meaning[row.meaning], effort=Effort[row.effort], source=row.source,
            confidence=Confidence.CERTAIN if row.values and node.arg not in LOOSE else likely,
        )  # fmt: skip


@family.rule(513, "ONNX Runtime is asked for NVIDIA's chips", ast.Constant, meaning=Meaning.RENAMED)
def provider(node: ast.Constant, file: PythonFile) -> Iterator[Match]:
    row = texts().get(node.value) if isinstance(node.value, str) else None
    if row is None or _has_cann(node, file):
        return
    fix = unsafe(_provider(node, file)) if node.value == CUDA else None
    yield Match(
        file.span(node), f"{file.text(node)}: {row.says}", fix, advice=row.advice,
        meaning=Meaning[row.meaning], effort=Effort[row.effort], source=row.source,
    )  # fmt: skip


@family.rule(
    514, "a setting asks for what is CUDA's", ast.Assign, ast.Dict, meaning=Meaning.SIGNATURE
)
def setting(node: ast.Assign | ast.Dict, file: PythonFile) -> Iterator[Match]:
    """`config._attn_implementation = "flash_attention_2"`, `{"load_in_4bit": True}`."""
    pairs: list[tuple[str, ast.expr]] = []
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                pairs.append((key.value, value))
    else:
        pairs = [(name, node.value) for name in map(_set, node.targets) if name]
    for key_, value in pairs:
        for row in arguments().get(key_, ()):
            if key_ in LOOSE or not row.values or _value(value) not in row.values:
                continue
            yield Match(
                file.span(value), f"`{key_}` is {file.text(value)}: {row.says}", advice=row.advice,
                meaning=Meaning[row.meaning], effort=Effort[row.effort], source=row.source,
                confidence=Confidence.LIKELY,
            )  # fmt: skip


@family.rule(
    515, "TensorFlow or Paddle is told to use a GPU", ast.Call, meaning=Meaning.SIGNATURE,
    advice="TF Adapter: npu_device.open().as_default(); Paddle: set_device(\"npu\")",
    source="https://www.hiascend.com/document/detail/en/TensorFlowCommercial/850/migration/tfmigr2/tfmigr2_000015.html",
)  # fmt: skip
def placed(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    called = file.name(node.func) or ""
    match node.args:
        case [ast.Constant(value=str(place)), *_] if "gpu" in place.lower():
            if called in ("tensorflow.device", "paddle.set_device", "paddle.device.set_device"):
                yield Match(file.span(node), f"`{file.text(node)}` names a GPU")


@family.rule(
    516, "a method turns on what is CUDA's", ast.Call, meaning=Meaning.MISSING,
    source="github.com/huggingface/diffusers src/diffusers/models/modeling_utils.py",
    advice="leave it out: attention of PyTorch is used then, or call enable_npu_flash_attention",
)  # fmt: skip
def switched_on(node: ast.Call, file: PythonFile) -> Iterator[Match]:
    match node.func:
        case ast.Attribute(attr=name) if name in SWITCHES:
            yield Match(file.span(node), f"`{name}` turns on attention of xformers")


def _set(target: ast.expr) -> str:
    """What `a.name = ...` and `a["name"] = ...` set."""
    match target:
        case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


def _value(node: ast.expr) -> str | None:
    return str(node.value) if isinstance(node, ast.Constant) else None


def _has_cann(node: ast.AST, file: PythonFile) -> bool:
    parent: ast.AST | None = file.parent(node)
    while isinstance(parent, ast.expr):
        if any(isinstance(n, ast.Constant) and n.value == CANN for n in ast.walk(parent)):
            return True
        parent = file.parent(parent)
    return False


def _provider(node: ast.Constant, file: PythonFile) -> Fix | None:
    """CANN's provider before CUDA's in a list, which warns of what is missing and goes on."""
    parent = file.parent(node)
    pieces = file.literals(node)
    if len(pieces) != 1 or not file.exact(node) or file.formatted(node):
        return None
    first = pieces[0]
    if not file.setting.portable:
        return Fix((Edit(first.body, first.body_end, CANN),))
    if not isinstance(parent, ast.List) or not isinstance(
        file.parent(parent), ast.keyword | ast.Assign
    ):
        return None
    text = f"{first.quote}{CANN}{first.quote}, "
    return Fix((Edit(first.start, first.start, text),))
