"""Where names are bound: the scopes of one module, as Python's rules make them."""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
OPENING = frozenset({*FUNCTIONS, ast.ClassDef, *COMPREHENSIONS})  # a scope
LEAVES = frozenset({ast.Name, ast.Constant})
SIGNS = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)
BINDING = frozenset({
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign,
    ast.AnnAssign, ast.NamedExpr, ast.AugAssign, ast.For, ast.AsyncFor, ast.comprehension,
    ast.withitem, ast.ExceptHandler, ast.MatchAs, ast.MatchStar,
})  # fmt: skip
BUILTINS = frozenset(dir(builtins))


class How(Enum):
    """How a name came to be bound."""

    IMPORT = auto()
    VALUE = auto()  # name = value, name: type = value, (name := value)
    DEFINITION = auto()  # def and class
    PARAMETER = auto()
    OTHER = auto()  # for, with, except, unpacking, +=, del


@dataclass(frozen=True, slots=True)
class Binding:
    """One way in which a name gets a meaning."""

    how: How
    node: ast.AST  # the statement, parameter or target
    dotted: str = ""  # of an import: what it stands for
    value: ast.expr | None = None
    annotation: ast.expr | None = None


@dataclass(eq=False, slots=True)
class Scope:
    """A module, class, function, lambda or comprehension, and what it binds."""

    node: ast.AST
    parent: "Scope | None"
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)  # declared global or nonlocal

    def bind(self, name: str, binding: Binding) -> None:
        """Note one more meaning of `name`."""
        scope = self
        if name in self.elsewhere and self.parent is not None:
            scope = self.module
        scope.bindings.setdefault(name, []).append(binding)

    @property
    def module(self) -> "Scope":
        """The outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def lookup(self, name: str) -> "tuple[Scope, list[Binding]] | None":
        """The scope that gives `name` its meaning here, and all of its bindings there."""
        scope: Scope | None = self
        first = True
        while scope is not None:
            hidden = isinstance(scope.node, ast.ClassDef) and not first
            if name in scope.bindings and not hidden:
                return scope, scope.bindings[name]
            scope, first = scope.parent, False
        return None


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed module: each node's parent, and the scope that its names are looked up in."""

    module: ast.Module
    nodes: list[ast.AST]  # in the order of their text, roughly: parents before children
    parents: dict[ast.AST, ast.AST]
    scopes: dict[ast.AST, Scope]


def tree(module: ast.Module) -> Tree:
    """Walk `module` once."""
    nodes: list[ast.AST] = []
    parents: dict[ast.AST, ast.AST] = {}
    scopes: dict[ast.AST, Scope] = {}
    found = Tree(module, nodes, parents, scopes)
    root = Scope(module, None)
    stack: list[tuple[ast.AST, Scope]] = [(module, root)]
    while stack:
        node, scope = stack.pop()
        nodes.append(node)
        scopes[node] = scope
        kind = type(node)
        if kind in LEAVES:
            continue
        if kind in BINDING:
            _bind(node, scope)
        children = [*_children(node, scope)] if kind in OPENING else _parts(node, scope)
        for child, _ in children:
            parents[child] = node
        children.reverse()
        stack += children
    return found


def _parts(node: ast.AST, scope: Scope) -> list[tuple[ast.AST, Scope]]:
    """The nodes that `node` is made of, without contexts and operators, of which nobody asks."""
    parts: list[tuple[ast.AST, Scope]] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            parts += [(each, scope) for each in value if isinstance(each, ast.AST)]
        elif isinstance(value, ast.AST) and not isinstance(value, SIGNS):
            parts.append((value, scope))
    return parts


def _children(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """Children of `node`, each with the scope that it is evaluated in."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        inner = Scope(node, scope)
        _bind_parameters(node, inner)
        body = node.body if isinstance(node.body, list) else [node.body]
        inside = set(map(id, body))
        if not isinstance(node, ast.Lambda):
            inner.elsewhere.update(_declared_elsewhere(body))
    elif isinstance(node, COMPREHENSIONS):
        inner, inside = Scope(node, scope), None
    else:
        inner, inside = scope, None
    for child, _ in _parts(node, scope):
        yield child, inner if inside is None or id(child) in inside else scope


def _bind_parameters(node: ast.AST, scope: Scope) -> None:
    if not isinstance(node, FUNCTIONS):
        return
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(a.defaults))
    given = [*zip(plain, [*defaults, *a.defaults], strict=True)]
    given += zip(a.kwonlyargs, a.kw_defaults, strict=True)
    given += [(arg, None) for arg in (a.vararg, a.kwarg) if arg is not None]
    for arg, default in given:
        scope.bind(arg.arg, Binding(How.PARAMETER, arg, value=default, annotation=arg.annotation))


def _declared_elsewhere(body: list[ast.stmt] | list[ast.expr]) -> Iterator[str]:
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            yield from node.names
        elif isinstance(node, ast.stmt) and not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            stack.extend(ast.iter_child_nodes(node))
        elif isinstance(node, (ast.ExceptHandler, ast.match_case)):
            stack.extend(node.body)


def _bind(node: ast.AST, scope: Scope) -> None:
    match node:
        case ast.Import():
            for alias in node.names:
                dotted = alias.name if alias.asname else alias.name.partition(".")[0]
                scope.bind(alias.asname or dotted, Binding(How.IMPORT, node, dotted))
        case ast.ImportFrom():
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                dotted = f"{(origin.rstrip('.') and origin + '.') or origin}{alias.name}"
                scope.bind(alias.asname or alias.name, Binding(How.IMPORT, node, dotted))
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            scope.bind(node.name, Binding(How.DEFINITION, node))
        case ast.Assign():
            for target in node.targets:
                _bind_target(target, scope, node, node.value)
        case ast.AnnAssign(target=ast.Name(id=name)):
            scope.bind(name, Binding(How.VALUE, node, "", node.value, node.annotation))
        case ast.NamedExpr(target=ast.Name(id=name)):
            _holder(scope).bind(name, Binding(How.VALUE, node, value=node.value))
        case ast.AugAssign() | ast.For() | ast.AsyncFor() | ast.comprehension():
            _bind_target(node.target, scope, node, None)
        case ast.withitem(optional_vars=ast.expr() as target):
            _bind_target(target, scope, node, None)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            scope.bind(name, Binding(How.OTHER, node))
        case ast.MatchStar(name=str(name)):
            scope.bind(name, Binding(How.OTHER, node))


def _holder(scope: Scope) -> Scope:
    """Where := binds: outside of the comprehension it stands in."""
    while isinstance(scope.node, COMPREHENSIONS) and scope.parent is not None:
        scope = scope.parent
    return scope


def _bind_target(target: ast.expr, scope: Scope, node: ast.AST, value: ast.expr | None) -> None:
    if isinstance(target, ast.Name):
        how = How.OTHER if value is None else How.VALUE
        scope.bind(target.id, Binding(how, node, value=value))
    elif isinstance(target, (ast.Tuple, ast.List)):
        values: list[ast.expr | None] = [None] * len(target.elts)
        starred = any(isinstance(e, ast.Starred) for e in target.elts)
        if isinstance(value, ast.Tuple) and len(value.elts) == len(values) and not starred:
            values = list(value.elts)
        for element, part in zip(target.elts, values, strict=True):
            _bind_target(element, scope, node, part)
    elif isinstance(target, ast.Starred):
        _bind_target(target.value, scope, node, None)
