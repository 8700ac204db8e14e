"""Derives the flags of `vllm serve` and the variables of vLLM, by version, from its Python sources.

    python tools/vllm_flags.py --versions FOLDER src/cordee/serve/deployment

FOLDER holds one folder for every version, named by it, with the package `vllm` in it: a checkout at
that version's tag, or what a wheel unpacks to. Nothing of vLLM is imported: the declarations are read,
the types of the fields of its configuration among them. Two tables are written, flags.toml and
variables.toml.
"""

import argparse
import ast
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from packaging.version import Version
from vllm_sources import Sources, named

HEAD = """\
# {what}, with the first and the last of these versions of vLLM that have it:
# {versions}
# Written by tools/vllm_flags.py from vLLM's Python sources; not to be edited by hand.
"""
# Loops over all fields of a class declare these flags; the rest is declared one by one.
FRONTEND = ("BaseFrontendArgs", "FrontendArgs")


@dataclass
class Flag:
    """One flag as one version declares it."""

    names: list[str]
    kind: str
    choices: list[str] = field(default_factory=list)
    group: str = ""
    file: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    """Keys of its JSON, those of nested configurations behind dots, and the kinds of their values."""


class Declarations(ast.NodeVisitor):
    """Collects the flags that one module declares."""

    def __init__(self, sources: Sources, file: str) -> None:
        self.sources, self.file = sources, file
        self.flags: list[Flag] = []
        self.groups: dict[str, str] = {}
        self.config_of: dict[str, str] = {}
        self.hints: dict[str, ast.expr] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in ("add_cli_args", "make_arg_parser", "_add_cli_args"):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Name) and isinstance(value, ast.Call):
            called = named(value.func)
            if called == "add_argument_group":
                self.groups[target.id] = title_of(value)
            elif called == "get_kwargs" and value.args:
                self.config_of[target.id] = named(value.args[0]) or ""
        elif isinstance(target, ast.Name) and isinstance(value, ast.Subscript):
            hint = self._hint(value)  # what one field needs, under a name of its own
            if hint is not None:
                self.hints[target.id] = hint
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if named(node.func) == "add_argument":
            names = [
                a.value
                for a in node.args
                if isinstance(a, ast.Constant) and isinstance(a.value, str)
            ]
            if names and all(name.startswith("-") for name in names):
                owner = node.func.value if isinstance(node.func, ast.Attribute) else None
                self.flags.append(self._flag(names, node, self.groups.get(named(owner) or "", "")))
        self.generic_visit(node)

    def _flag(self, names: list[str], node: ast.Call, group: str) -> Flag:
        hint, given = None, {}
        for keyword in node.keywords:
            if keyword.arg is None:
                hint = self._hint(keyword.value)
            else:
                given[keyword.arg] = keyword.value
        kind = kind_of(given) or self.sources.kind(hint)
        choices = self.sources.choices(hint)
        if isinstance(given.get("choices"), ast.List):
            choices = [str(c.value) for c in given["choices"].elts if isinstance(c, ast.Constant)]  # type: ignore[attr-defined]
        keys = self.sources.keys(hint) if kind == "json" else {}
        return Flag(names, kind, choices, group, self.file, keys)

    def _hint(self, value: ast.expr) -> ast.expr | None:
        if isinstance(value, ast.Name):
            return self.hints.get(value.id)
        if isinstance(value, ast.Dict):
            spread = [v for k, v in zip(value.keys, value.values, strict=True) if k is None]
            return self._hint(spread[0]) if spread else None
        if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Constant):
            config = self.config_of.get(named(value.value) or "", "")
            return self.sources.fields(config).get(str(value.slice.value))
        return None


def title_of(call: ast.Call) -> str:
    for value in [k.value for k in call.keywords if k.arg == "title"] + call.args[:1]:
        if isinstance(value, ast.Constant):
            return str(value.value)
    return ""


def kind_of(given: dict[str, ast.expr]) -> str | None:
    """What an explicit action or number of words says; None where the field's type decides."""
    nargs, action = given.get("nargs"), given.get("action")
    if isinstance(nargs, ast.Constant):
        return "optional" if nargs.value == "?" else "many"
    if isinstance(action, ast.Constant) and action.value in ("store_true", "store_false"):
        return "switch"
    if named(action) == "BooleanOptionalAction":
        return "flag"
    if "type" in given and named(given["type"]) in ("loads",):
        return "json"
    return "value" if {"type", "help"} & given.keys() and not action else None


def frontend(sources: Sources) -> Iterator[Flag]:
    """The flags that stand for all fields of the front end's arguments."""
    text = "".join(path.read_text() for path in sources.declaring)
    file = next((p for p in sources.declaring if p.name == "cli_args.py"), sources.root)
    for cls in FRONTEND:
        for name, hint in sources.fields(cls).items():
            single = f'del frontend_kwargs["{name}"]["nargs"]' in text
            kind = "value" if single else sources.kind(hint)
            yield Flag(
                [f"--{name.replace('_', '-')}"],
                "json" if name.startswith(("allowed_", "default_chat")) else kind,
                sources.choices(hint),
                "Frontend",
                str(file.relative_to(sources.root)),
            )


@cache
def flags_of(folder: Path) -> dict[str, Flag]:
    """Every flag of `vllm serve` in one version, by its long name."""
    sources = Sources(folder)
    found: dict[str, Flag] = {}
    for flag in frontend(sources):
        found[flag.names[0]] = flag
    for path, tree in sources.declaring.items():
        declared = Declarations(sources, str(path.relative_to(folder)))
        declared.visit(tree)
        for flag in declared.flags:
            flag.names.sort(key=lambda name: (not name.startswith("--"), name))
            found.setdefault(flag.names[0], flag)
    return found


def variables_of(folder: Path) -> set[str]:
    """Every variable that one version's envs.py reads."""
    tree = ast.parse((folder / "vllm" / "envs.py").read_text("utf-8"))
    keys = (key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys)
    return {
        k.value
        for k in keys
        if isinstance(k, ast.Constant) and re.fullmatch(r"[A-Z][A-Z0-9_]{4,}", str(k.value))
    }


def bounds(versions: list[str], having: Iterable[str]) -> tuple[str, str]:
    seen = sorted(having, key=Version)
    return seen[0], "" if seen[-1] == versions[-1] else seen[-1]


def written(row: dict[str, object]) -> str:
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in row.items() if value
    ]
    return "[[row]]\n" + "\n".join(lines) + "\n"


def flags_table(folder: Path, versions: list[str]) -> str:
    by_version = {version: flags_of(folder / version) for version in versions}
    rows = []
    for name in sorted({name for flags in by_version.values() for name in flags}):
        having = [version for version in versions if name in by_version[version]]
        since, until = bounds(versions, having)
        newest = by_version[having[-1]][name]
        aliases = {a for version in having for a in by_version[version][name].names} - {name}
        choices: dict[str, None] = {}
        for version in reversed(having):
            choices |= dict.fromkeys(by_version[version][name].choices)
        row = {
            "name": name,
            "aliases": sorted(aliases),
            "kind": newest.kind,
            "choices": list(choices),
            "group": newest.group,
            "since": since,
            "until": until,
            "source": f"github.com/vllm-project/vllm v{having[-1]} {newest.file}",
        }
        rows.append(written(row))
    head = HEAD.format(what="The flags of `vllm serve`", versions=" ".join(versions))
    return "\n".join([head, *rows])


def keys_table(folder: Path, versions: list[str]) -> str:
    by_version: dict[str, dict[str, tuple[str, str]]] = {}
    for version in versions:
        flags = flags_of(folder / version).values()
        by_version[version] = {
            f"{flag.names[0]}.{key}": (kind, flag.file)
            for flag in flags
            for key, kind in flag.keys.items()
        }
    rows = []
    for name in sorted(set().union(*by_version.values())):
        having = [v for v in versions if name in by_version[v]]
        since, until = bounds(versions, having)
        kind, file = by_version[having[-1]][name]
        source = f"github.com/vllm-project/vllm v{having[-1]} {file}"
        row = {"name": name, "kind": kind, "since": since, "until": until, "source": source}
        rows.append(written(row))
    head = HEAD.format(what="The keys of flags that take JSON", versions=" ".join(versions))
    return "\n".join([head, *rows])


def variables_table(folder: Path, versions: list[str]) -> str:
    by_version = {version: variables_of(folder / version) for version in versions}
    rows = []
    for name in sorted(set().union(*by_version.values())):
        since, until = bounds(versions, (v for v in versions if name in by_version[v]))
        source = f"github.com/vllm-project/vllm v{until or versions[-1]} vllm/envs.py"
        rows.append(written({"name": name, "since": since, "until": until, "source": source}))
    head = HEAD.format(what="The variables that vLLM reads", versions=" ".join(versions))
    return "\n".join([head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=Path, required=True)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    versions = sorted(
        (path.name for path in given.versions.iterdir() if path.is_dir()), key=Version
    )
    (given.out / "flags.toml").write_text(flags_table(given.versions, versions))
    (given.out / "keys.toml").write_text(keys_table(given.versions, versions))
    (given.out / "variables.toml").write_text(variables_table(given.versions, versions))


if __name__ == "__main__":
    main()
