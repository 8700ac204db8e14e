"""Python files."""

import re
from pathlib import PurePosixPath

from cordee.port.documents.kind import Kind
from cordee.port.python.file import PythonFile
from cordee.port.setting import Setting
from cordee.port.source import python_source

SHEBANG = re.compile(rb"#!.*\bpython[\d.]*\b")


def _claims(path: str, data: bytes) -> bool:
    suffix = PurePosixPath(path).suffix
    return suffix in (".py", ".pyi", ".pyw") or (not suffix and SHEBANG.match(data) is not None)


def _open(path: str, data: bytes, setting: Setting) -> PythonFile:
    return PythonFile(python_source(path, data), setting)


KIND = Kind("python", _claims, _open)
