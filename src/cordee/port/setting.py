"""What a file is judged by: the style and versions asked for, and what its neighbours say."""

from dataclasses import dataclass, field
from enum import StrEnum

# The newest pair of torch and torch_npu that a port is checked against on the virtual chip.
USUAL_TORCH = "2.13"


class Style(StrEnum):
    """What a port is to run on."""

    PORTABLE = "portable"  # Ascend, NVIDIA and CPU alike
    NATIVE = "native"  # Ascend


@dataclass(frozen=True, slots=True)
class Project:
    """What all Python files of a repository together say, as far as one file's meaning needs it."""

    methods: frozenset[str] = frozenset()  # such as cuda, is_cuda: names that its classes define
    modules: frozenset[str] = frozenset()  # paths of its Python files, with slashes
    extensions: frozenset[str] = frozenset()  # names of modules that it compiles for CUDA

    def defines(self, name: str) -> bool:
        """Whether some class of the repository has a member of this name."""
        return name in self.methods


@dataclass(frozen=True, slots=True)
class Setting:
    """The same for every file of one run."""

    style: Style = Style.PORTABLE
    torch: str = USUAL_TORCH  # the version of torch, and of torch_npu, that the result runs on
    project: Project = field(default_factory=Project)

    @property
    def portable(self) -> bool:
        """Whether the result is to run on NVIDIA and CPU too."""
        return self.style is Style.PORTABLE

    def has(self, since: str) -> bool:
        """Whether the version aimed at is `since` or later."""
        return _version(self.torch) >= _version(since)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
