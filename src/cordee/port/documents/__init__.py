"""Which parser a file needs: by its name, and its first line."""

from cordee.port.documents import (
    arguments,
    builds,
    changes,
    cpp,
    data,
    dockerfile,
    makefile,
    markdown,
    notebook,
    plain,
    requirements,
    shell,
)
from cordee.port.documents.kind import Kind
from cordee.port.documents.python import KIND as PYTHON
from cordee.port.rule import Document
from cordee.port.setting import Setting

# The first that says yes.
KINDS: tuple[Kind, ...] = (
    PYTHON,
    cpp.KIND,
    notebook.KIND,
    dockerfile.KIND,
    requirements.KIND,
    *data.KINDS,
    markdown.KIND,
    makefile.KIND,
    builds.KIND,
    shell.KIND,
    arguments.KIND,
    changes.KIND,
    plain.KIND,
)


def kind_of(path: str, data: bytes) -> Kind | None:
    """The kind of the file at `path`, relative with slashes; None if no rule looks at such files."""
    return next((kind for kind in KINDS if kind.claims(path, data)), None)


def document(path: str, data: bytes, setting: Setting) -> Document | None:
    """The file at `path` as its kind's parser sees it.

    Raises `SourceError` if the file is not what its name says.
    """
    kind = kind_of(path, data)
    return kind.open(path, data, setting) if kind is not None else None
