"""What the Python files of a repository say together, found without parsing them."""

import re
from collections.abc import Iterable

from cordee.core.errors import CordeeError
from cordee.port.setting import Project

# Names of methods that rules ask for; those of other names are not looked for.
METHODS = ("cuda", "is_cuda", "npu", "is_npu", "to", "pin_memory", "record_stream")
DEFINED = re.compile(rb"^[ \t]+(?:async[ \t]+)?def[ \t]+(%s)\b" % b"|".join(m.encode() for m in METHODS), re.M)  # fmt: skip
HINT = re.compile(rb"def[ \t]+(?:%s)\b" % b"|".join(m.encode() for m in METHODS))
MODULES = "modules"
EXTENSIONS = "extensions"
COMPILED = re.compile(rb"(?i:\w*extension|make_cuda_ext)\(\s*(?:name\s*=\s*)?[\"']([\w.]+)[\"']")


def methods(data: bytes) -> list[str]:
    """Those of `METHODS` that a Python file defines inside of something."""
    if HINT.search(data) is None:
        return []
    return sorted({match[1].decode() for match in DEFINED.finditer(data)})


def extensions(data: bytes) -> list[str]:
    """The modules that a setup.py compiles for CUDA, as far as it names them in so many words."""
    if b"CUDAExtension" not in data:
        return []
    return sorted({match[1].decode() for match in COMPILED.finditer(data)})


class Questions(Project):
    """A project that remembers what it was asked: what a file's findings depend on."""

    __slots__ = ("_project", "asked")
    _project: Project
    asked: set[str]

    def __init__(self, project: Project) -> None:
        object.__setattr__(self, "_project", project)
        object.__setattr__(self, "asked", set())

    def defines(self, name: str) -> bool:
        """As the project says."""
        if name not in METHODS:
            raise CordeeError(f"{name}: a rule asks for a method that is not looked for")
        self.asked.add(name)
        return bool(self._project.defines(name))

    @property
    def modules(self) -> frozenset[str]:
        """As the project says."""
        self.asked.add(MODULES)
        return self._project.modules

    @property
    def extensions(self) -> frozenset[str]:
        """As the project says."""
        self.asked.add(EXTENSIONS)
        return self._project.extensions


def answers(project: Project, asked: Iterable[str]) -> list[str]:
    """What a project says to the same questions now, as far as it is not no."""
    given = [n for n in asked if n not in (MODULES, EXTENSIONS) and project.defines(n)]
    if MODULES in asked:
        given += [MODULES, *sorted(project.modules)]
    if EXTENSIONS in asked:
        given += [EXTENSIONS, *sorted(project.extensions)]
    return given
