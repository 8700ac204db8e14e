"""What holds for every Python file: a port parses, a second changes nothing, other lines are the same."""

import ast
import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cordee.port.documents import document
from cordee.port.engine import concerns
from cordee.port.finding import apply
from cordee.port.judgement import judgement
from cordee.port.rewriting import NewFiles, Rewritten, rewritten
from cordee.port.setting import Setting, Style

PACKAGES = Path(sysconfig.get_path("purelib"))
SAMPLE = 16  # of the installed files that a rule may have something to say about
NAMES = st.sampled_from(["x", "model", "device", "cuda", "torch", "args", "ünï", "data"])
ATOMS = st.sampled_from(
    [
        "torch.cuda.is_available()",
        "torch.cuda.device_count()",
        '"cuda"',
        "'cuda:0'",
        'f"cuda:{rank}"',
        "device",
        "x",
        'torch.device("cuda")',
        "torch.cuda.Event(enable_timing=True)",
        "torch.cuda.current_device()",
        '"npu"',
        "x.cuda()",
        "model.cuda(0)",
        "x.is_cuda",
        "device.type",
        'b"cuda"',
        "torch.cuda.amp.autocast()",
        "None",
        "1",
        '"cudart"',
        'torch.zeros(2,device="cuda")',
        'getattr(torch,"cuda")',
        "x.cuda(non_blocking=True).float()",
        '"é🎉cuda"',
        "torch.cuda.memory_allocated(device)/2**20",
        "torch.backends.cudnn.benchmark",
        "r'cuda'",
        '("cuda"',
        '"")',
        '{"cuda":1}["cuda"]',
        "[d.cuda()for(d)in[x]]",
        "(lambda:torch.cuda.synchronize())()",
    ]
)
HEADS = ("import torch", "import torch\nfrom torch import cuda", "import torch, torch.cuda as c", "",
         "from torch.cuda.amp import autocast, GradScaler\nimport torch", "import numpy as torch")  # fmt: skip
FORMS = (
    "{a} == {b}", "{a} in {b}", "{a} if {b} else {c}", "({a})", "print({a}, device={b})", "not {a}",
    "({a} and {b}) or {c}", "[{a}, {b}]", "(\n  {a},  # cuda\n  {b}\n)", "f'{{{n}}} cuda'", "{n}.to({a})",
    "dict(device={a}, b={b})", "{a} != {b}", "{n}({a})[{b}:]",
)  # fmt: skip


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(ATOMS)
    inner = expressions(depth=depth - 1)
    form = draw(st.sampled_from(FORMS))
    return form.format(a=draw(inner), b=draw(inner), c=draw(inner), n=draw(NAMES))


@st.composite
def statements(draw: st.DrawFn, depth: int = 2) -> str:
    value, name = draw(expressions()), draw(NAMES)
    simple = [
        f"{name} = {value}", f"return_ = {value}; {name} = 1", f"assert {value}", f"del {name}",
        value, f"{name}: object = {value}", f"{name} += {value}  # cuda", f"print({value!r})",
    ]  # fmt: skip
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(simple))
    body = "\n".join(draw(st.lists(statements(depth=depth - 1), min_size=1, max_size=3)))
    indent = draw(st.sampled_from(["    ", "\t", " "]))
    inside = "\n".join(indent + line for line in body.split("\n"))
    head = draw(
        st.sampled_from(
            [f"if {value}:", f"def {name}(device={value}):", f"class {name}:", f"with {value}:",
             f"for {name} in {value}:", f"while {value}:", "try:"]
        )
    )  # fmt: skip
    return f"{head}\n{inside}" + ("\nexcept RuntimeError:\n    pass" if head == "try:" else "")


@st.composite
def programs(draw: st.DrawFn) -> str:
    head = draw(st.sampled_from(HEADS))
    body = draw(st.lists(statements(), min_size=1, max_size=6))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    text = "\n".join([head, *body]) + draw(st.sampled_from(["\n", ""]))
    return text.replace("\n", ending)


def ported(root: Path, data: bytes, style: Style, unsafe: bool) -> Rewritten:
    """The file, once judged and rewritten; a mistake in a rule fails the test."""
    file = judgement("a.py", data, Setting(style=style)).file
    assert not file.problem
    (root / "a.py").write_bytes(data)
    return rewritten(root, file, NewFiles(root), unsafe)


def check(root: Path, data: bytes, style: Style, unsafe: bool) -> None:
    """All three properties of one file."""
    once = ported(root, data, style, unsafe)
    opened = document("a.py", data, Setting())
    assert opened is not None
    if once.before != once.after:
        fixes = [finding.fix for finding in once.made if finding.fix is not None]
        ast.parse(apply(opened.source.text, fixes))
    untouched(once, opened.source.text, opened.source.encoding)
    again = ported(root, once.after, style, unsafe)
    assert again.after == once.after


def untouched(file: Rewritten, text: str, encoding: str) -> None:
    """Lines that no edit reaches are in the result, byte for byte and in their order."""
    edits = [edit for finding in file.made if finding.fix for edit in finding.fix.edits]
    at = position = 0
    for line in text.splitlines(keepends=True):
        start, at = at, at + len(line)
        if not any(edit.start < at and start <= edit.end for edit in edits):
            found = file.after.find(line.encode(encoding), position)
            assert found >= 0, line
            position = found + len(line.encode(encoding))


@pytest.mark.parametrize("style", list(Style))
@given(program=programs(), unsafe=st.booleans())
@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_of_generated_programs(tmp_path_factory, style, program, unsafe) -> None:
    try:
        ast.parse(program)
    except (SyntaxError, ValueError):
        return
    root = tmp_path_factory.getbasetemp() / f"program-{style}"
    root.mkdir(exist_ok=True)
    check(root, program.encode(), style, unsafe)


def real_files() -> list[Path]:
    """Installed files, of which a rule may have something to say."""
    packages = ("torch", "torch_npu", "scipy", "numpy", "functorch", "torchgen")
    every = sorted(path for name in packages for path in (PACKAGES / name).rglob("*.py"))
    random.Random(0).shuffle(every)
    found = (path for path in every if concerns(path.read_bytes().decode("latin-1")))
    return [path for path, _ in zip(found, range(SAMPLE), strict=False)]


@pytest.mark.parametrize("style", list(Style))
@pytest.mark.parametrize("path", real_files(), ids=lambda path: str(path.relative_to(PACKAGES)))
def test_of_real_files(tmp_path, path, style) -> None:
    for unsafe in (False, True):
        check(tmp_path, path.read_bytes(), style, unsafe)
