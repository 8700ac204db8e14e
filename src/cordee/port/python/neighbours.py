"""What a Python file may import of its own repository, and where a new module would be found."""

import ast
from dataclasses import dataclass
from pathlib import PurePosixPath

from cordee.port.python.file import PythonFile


@dataclass(frozen=True, slots=True)
class Home:
    """A folder for a new module, and how this file imports from it."""

    folder: str  # relative to the repository, "" for its root
    package: str  # what stands before the module's name: "", ".", "..", "model."
    sure: bool  # whether the import surely finds it

    def path(self, module: str) -> str:
        """Where the file of `module` goes."""
        return str(PurePosixPath(self.folder) / f"{module}.py")

    def statement(self, module: str) -> str:
        """What `from ... import` names to reach inside of `module`."""
        return f"{self.package}{module}"

    def within(self, module: str) -> str:
        """The import that binds `module` itself, up to its `as`."""
        if not self.package:
            return f"import {module}"
        holder = self.package if not self.package.strip(".") else self.package.rstrip(".")
        return f"from {holder} import {module}"


def home(file: PythonFile) -> Home:
    """Where a module goes that `file` is to import.

    What the file imports already shows which folders Python looks in for it.
    """
    folder = PurePosixPath(file.source.path).parent
    found = _beside_own_import(file, folder)
    if found is not None:
        return found
    dots = max((n.level for n in file.nodes() if isinstance(n, ast.ImportFrom)), default=0)
    if 0 < dots <= len(folder.parts) + 1:
        above = folder.parents[dots - 2] if dots > 1 else folder
        return Home(_text(above), "." * dots, sure=True)
    packaged = str(folder / "__init__.py") in file.setting.project.modules
    if packaged:
        return Home(_text(folder), ".", sure=not _is_script(file))
    return Home(_text(folder), "", sure=not folder.parts)


def own(file: PythonFile, dotted: str) -> bool:
    """Whether an import of `dotted` finds a module of the repository itself."""
    modules = file.setting.project.modules
    if not modules:
        return False
    if dotted.partition(".")[0] in _packages(modules):
        return True
    folder = PurePosixPath(file.source.path).parent
    above = (f for f in folder.parents if str(f / "__init__.py") not in modules)
    roots = (folder, *above, *map(PurePosixPath, ("src", "python", "lib")))
    parts = dotted.split(".")
    names = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return any(_is_at(root, name, modules) for root in dict.fromkeys(roots) for name in names)


def _packages(modules: frozenset[str]) -> frozenset[str]:
    """Packages below no other: what the repository itself offers, or a copy in it."""
    if modules not in _HELD:
        _HELD.clear()
        folders = [PurePosixPath(p).parent for p in modules if p.endswith("/__init__.py")]
        top = (
            folder.name
            for folder in folders
            if all(str(above / "__init__.py") not in modules for above in folder.parents)
        )
        _HELD[modules] = frozenset(top) - {"tests", "test", "examples"}
    return _HELD[modules]


_HELD: dict[frozenset[str], frozenset[str]] = {}  # of the repository that was asked about last


def _beside_own_import(file: PythonFile, folder: PurePosixPath) -> Home | None:
    """Where an absolute import of the file's finds a module of the repository."""
    modules = file.setting.project.modules
    for node in file.tree.module.body:
        match node:
            case ast.ImportFrom(module=str(module), level=0):
                names = [module]
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case _:
                continue
        for name in names:
            for root in (folder, *folder.parents):
                if _is_at(root, name, modules):
                    return _under(root, name)
    return None


def _is_at(root: PurePosixPath, name: str, modules: frozenset[str]) -> bool:
    path = name.replace(".", "/")
    if root.parts:
        path = f"{root}/{path}"
    return f"{path}.py" in modules or f"{path}/__init__.py" in modules


def _under(root: PurePosixPath, name: str) -> Home:
    first, _, rest = name.partition(".")
    if rest:
        return Home(_text(root / first), f"{first}.", sure=True)
    return Home(_text(root), "", sure=True)


def _is_script(file: PythonFile) -> bool:
    return any(
        isinstance(n.left, ast.Name) and n.left.id == "__name__"
        for n in file.nodes()
        if isinstance(n, ast.Compare)
    )


def _text(folder: PurePosixPath) -> str:
    return "" if str(folder) == "." else str(folder)
