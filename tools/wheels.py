"""What the modules of a wheel bind, read from their sources without importing them."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from zipfile import ZipFile

ENDINGS = ("/__init__.py", ".py", "/__init__.pyi", ".pyi")
LONGEST_CHAIN = 12  # of imports from one module to the next; more is a circle


@dataclass(frozen=True, slots=True)
class Bound:
    """What a name stands for, as far as the source tells."""

    module: str  # that the name is bound in or imported from
    source: str | None = None  # an expression, dotted, that it is another name for
    parameters: tuple[str, ...] | None = None  # "*" before those given by keyword only
    members: tuple[str, ...] = ()  # of an enumeration, or called on a class
    bases: tuple[str, ...] = ()  # of a class that says nothing of its parameters
    overloaded: bool = False


@dataclass(slots=True)
class Namespace:
    """The names of one module. `listed` is its `__all__`."""

    module: str
    bound: dict[str, Bound] = field(default_factory=dict)
    listed: set[str] | None = None


class Wheel:
    """The modules of one wheel."""

    def __init__(self, path: Path) -> None:
        self._zip = ZipFile(path)
        self._files = frozenset(self._zip.namelist())
        self._read: dict[str, Namespace] = {}
        self.version = path.name.split("-")[1].partition("+")[0]

    def text(self, file: str) -> str:
        """The text of `file`, or "" where the wheel has none of that name."""
        return self._zip.read(file).decode("utf-8") if file in self._files else ""

    def file(self, module: str) -> str | None:
        """The file that holds the source of `module`."""
        stem = module.replace(".", "/")
        return next((stem + end for end in ENDINGS if stem + end in self._files), None)

    def files(self, folder: str) -> Iterator[str]:
        """Every Python source below `folder`."""
        return (
            file for file in sorted(self._files) if file.startswith(folder) and file[-3:] == ".py"
        )

    def submodules(self, package: str) -> list[str]:
        """The public modules right below `package`."""
        folder = package.replace(".", "/") + "/"
        below = {f[len(folder) :].partition("/") for f in self._files if f.startswith(folder)}
        found = {stem.removesuffix(".py") for stem, _, _ in below}
        return sorted(s for s in found if not s.startswith("_") and self.file(f"{package}.{s}"))

    def namespace(self, module: str) -> Namespace:
        """What `module` binds; nothing for a module without source."""
        if module not in self._read:
            self._read[module] = Namespace(module)
            file = self.file(module)
            if file is not None:
                package = module if "__init__" in file else module.rpartition(".")[0]
                reader = _Reader(self, self._read[module], package)
                reader.run(ast.parse(self.text(file)).body)
        return self._read[module]

    def public(self, module: str) -> dict[str, Bound]:
        """The names of `module` that others may use, each as what it finally stands for."""
        space = self.namespace(module)
        listed = space.listed or set()
        inside = (f"{module}.", f"{_root(module)}._C")
        found = {
            name: self.resolved(bound)
            for name, bound in space.bound.items()
            if name in listed or (name[0] != "_" and f"{bound.module}.".startswith(inside))
        }
        # C code binds the types of tensors, such as torch.cuda.FloatTensor.
        made_in_c = {name for name in listed if name.endswith("Tensor")}
        return {name: Bound(module) for name in made_in_c} | found

    def private_functions(self, module: str) -> dict[str, Bound]:
        """The functions that `module` defines under names that begin with one underscore."""
        return {
            name: bound
            for name, bound in self.namespace(module).bound.items()
            if name[0] == "_" != name[1:2]
            and bound.module == module
            and bound.parameters is not None
        }

    def resolved(self, bound: Bound, chain: int = 0) -> Bound:
        """`bound` with what the name it stands for, or its base class, says of parameters."""
        if chain > LONGEST_CHAIN or bound.parameters is not None:
            return bound
        for source in (bound.source, *bound.bases):
            found = self._meant(bound.module, source, chain + 1) if source else None
            if found is not None and (found.parameters is not None or found.members):
                members = bound.members or found.members
                return replace(bound, parameters=found.parameters, members=members)
        return bound

    def _meant(self, module: str, dotted: str, chain: int) -> Bound | None:
        """What `dotted` stands for where `module` says it."""
        first, _, rest = dotted.partition(".")
        bound = self.namespace(module).bound.get(first)
        if bound is None or chain > LONGEST_CHAIN:
            return None
        if not rest:
            return self.resolved(bound, chain)
        # `import torch` binds a module whose own names follow.
        path = f"{bound.module}.{bound.source}" if bound.source else bound.module
        inside, _, last = f"{path}.{rest}".rpartition(".")
        return self._meant(inside, last, chain + 1) if self.file(inside) else None


class _Reader:
    """Follows the statements of one module in the order in which they run."""

    def __init__(self, wheel: Wheel, space: Namespace, package: str) -> None:
        self._wheel = wheel
        self._space = space
        self._package = package

    def run(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._function(statement)
                case ast.ClassDef():
                    self._bind(statement.name, _class(statement, self._space.module))
                case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.Expr():
                    self._assignment(statement)
                case ast.Import() | ast.ImportFrom():
                    self._imported(statement)
                case _:
                    self._compound(statement)

    def _compound(self, statement: ast.stmt) -> None:
        """Where a program may go two ways, both are read; the first one has the last word."""
        match statement:
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                self.run(statement.orelse)
            case ast.If():
                self.run([*statement.orelse, *statement.body])
            case ast.Try():
                for handler in statement.handlers:
                    self.run(handler.body)
                self.run([*statement.body, *statement.orelse, *statement.finalbody])
            case ast.With():
                self.run(statement.body)
            case ast.Delete():
                for target in statement.targets:
                    self._space.bound.pop(_dotted(target) or "", None)

    def _bind(self, name: str, bound: Bound) -> None:
        self._space.bound[name] = bound

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        overloaded = "overload" in {
            (_dotted(d) or "").rpartition(".")[2] for d in node.decorator_list
        }
        parameters: tuple[str, ...] | None = _parameters(node.args)
        before = self._space.bound.get(node.name)
        if overloaded and before and before.overloaded and before.parameters != parameters:
            parameters = None  # several ways to call it: no one order of parameters
        self._bind(
            node.name, Bound(self._space.module, parameters=parameters, overloaded=overloaded)
        )

    def _assignment(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            targets = [getattr(node.value.func, "value", None)]  # __all__.extend([…])
        for target in targets:
            if isinstance(target, ast.Name) and target.id == "__all__":
                self._space.listed = (self._space.listed or set()) | set(_texts(node.value))
            elif isinstance(target, ast.Name) and not isinstance(node, ast.Expr):
                source = _another_name(node.value)
                if source != target.id:  # which would say nothing
                    self._bind(target.id, Bound(self._space.module, source=source))

    def _imported(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                self._bind(name, Bound(alias.name if alias.asname else name))
            return
        module = node.module or ""
        if node.level:
            above = self._package.split(".")[: len(self._package.split(".")) - node.level + 1]
            module = ".".join([*above, module] if module else above)
        for alias in node.names:
            if alias.name == "*":
                self._everything(module)
            else:
                name = alias.asname or alias.name
                self._bind(name, Bound(module, source=alias.name))

    def _everything(self, module: str) -> None:
        """`from module import *`."""
        space = self._wheel.namespace(module)
        names = space.listed
        if names is None:
            names = {name for name in space.bound if not name.startswith("_")}
        for name in names & space.bound.keys():
            bound = space.bound[name]
            ours = _root(bound.module) == _root(module)
            self._bind(name, Bound(module, source=name) if ours else bound)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _class(node: ast.ClassDef, module: str) -> Bound:
    functions = [s for s in node.body if isinstance(s, ast.FunctionDef)]
    makers = [f for name in ("__new__", "__init__") for f in functions if f.name == name]
    ways = {_parameters(maker.args)[1:] for maker in makers if maker.name == makers[0].name}
    bases = tuple(filter(None, map(_dotted, node.bases)))
    return Bound(
        module,
        parameters=ways.pop() if len(ways) == 1 else None,
        members=(*(() if makers else _members(node)), *_static(functions)),
        bases=bases,
    )


def _static(functions: list[ast.FunctionDef]) -> Iterator[str]:
    """The functions that are called on the class itself."""
    for function in functions:
        called = {_dotted(decorator) for decorator in function.decorator_list}
        if called & {"staticmethod", "classmethod"} and function.name[0] != "_":
            yield function.name


def _members(node: ast.ClassDef) -> Iterator[str]:
    """The names of an enumeration, or of a class made of constants only."""
    enumeration = any((_dotted(base) or "").endswith(("Enum", "Flag")) for base in node.bases)
    if not enumeration and (node.bases or any(map(_acts, node.body))):
        return
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(name)]) if name[0] != "_":
                yield name
            case ast.AnnAssign(target=ast.Name(name), value=ast.expr()) if name[0] != "_":
                yield name


def _acts(statement: ast.stmt) -> bool:
    return not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)


def _parameters(given: ast.arguments) -> tuple[str, ...]:
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    if given.vararg:
        names.append(f"*{given.vararg.arg}")
    elif given.kwonlyargs:
        names.append("*")
    names += [argument.arg for argument in given.kwonlyargs]
    return (*names, f"**{given.kwarg.arg}") if given.kwarg else tuple(names)


def _another_name(value: ast.expr | None) -> str | None:
    """The name that an assigned expression is, past what only adds a description to it."""
    if isinstance(value, ast.Call) and (_dotted(value.func) or "").endswith("_add_docstr"):
        return _dotted(value.args[0])
    return _dotted(value)


def _texts(value: ast.AST | None) -> Iterator[str]:
    for node in ast.walk(value) if value else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def _dotted(node: ast.AST | None) -> str | None:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            before = _dotted(node.value)
            return f"{before}.{node.attr}" if before else None
    return None
