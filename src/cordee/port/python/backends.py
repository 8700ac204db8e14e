"""The distributed backend of the machine's device, in place of NCCL."""

import ast
import re

from cordee.port.finding import Edit, Fix
from cordee.port.names import offered
from cordee.port.python.devices import CURRENT
from cordee.port.python.file import PythonFile
from cordee.port.python.guards import guarded
from cordee.port.python.spelling import Spelling, spell

# Of variables, arguments, keys and options that hold a backend.
BACKEND_NAME = re.compile(r"(?:^|[_.\-])backends?$|^backend[_\-](?:name|type|str)$", re.IGNORECASE)
DEFAULT = "torch.distributed.get_default_backend_for_device"


def default_backend(file: PythonFile, at: ast.AST, alone: str) -> Spelling | None:
    """The default backend of the machine's accelerator; without one, that of the device `alone`."""
    if not all(offered(name, file.setting.torch) for name in (CURRENT, DEFAULT)):
        return None
    current, way = spell(file, at, CURRENT), spell(file, at, DEFAULT)
    if current is None or way is None:
        return None
    device = f"{current.text}()"
    if not guarded(file, at):
        device = f'{device} or "{alone}"'
    imports = tuple(dict.fromkeys((*current.imports, *way.imports)))
    return Spelling(f"{way.text}({device})", imports)


def named_backend(node: ast.AST) -> str | None:
    """The pair in a text such as "cpu:gloo,cuda:nccl" that is CUDA's."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return "cuda:nccl" if "cuda:nccl" in node.value.split(",") else None
    return None


def with_device(file: PythonFile, node: ast.Constant) -> Fix | None:
    """ "cpu:gloo,cuda:nccl" with the machine's accelerator and its backend in place of CUDA's."""
    pieces = file.literals(node)
    if len(pieces) != 1 or pieces[0].prefix or len(pieces[0].quote) > 1 or not file.exact(node):
        return None
    body = file.source.text[pieces[0].body : pieces[0].body_end]
    start = pieces[0].body + body.index("cuda:nccl")
    end = start + len("cuda:nccl")
    if not file.setting.portable:
        return Fix((Edit(start, end, "npu:hccl"),))
    backend = default_backend(file, node, "cuda")
    current = spell(file, node, CURRENT)
    if backend is None or current is None:
        return None
    inner = "'" if pieces[0].quote == '"' else '"'
    device = f"{current.text}()" if guarded(file, node) else f'{current.text}() or "cuda"'
    text = f"{{{device}}}:{{{backend.text}}}".replace('"', inner)
    first = pieces[0].start
    return Fix((*backend.imports, Edit(first, first, "f"), Edit(start, end, text)))
