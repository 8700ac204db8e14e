"""A kind of file: how it is recognised and opened."""

from collections.abc import Callable
from dataclasses import dataclass

from cordee.port.rule import Document
from cordee.port.setting import Setting


@dataclass(frozen=True, slots=True)
class Kind:
    """`claims` is asked the path and the first bytes; `open` may raise `SourceError`."""

    name: str  # python, notebook, shell ... as findings and reports call it
    claims: Callable[[str, bytes], bool]
    open: Callable[[str, bytes, Setting], Document]
