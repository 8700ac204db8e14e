"""What vLLM's Python sources declare: classes, the types of their fields, and the modules with flags."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

# Configurations that have flags of their own: as a value inside another one nobody writes them out.
WHOLE = ("ModelConfig", "ParallelConfig", "LoadConfig", "VllmConfig", "DeviceConfig")
WORDS = re.compile(r"= Literal\[|Enum\)|Literal\[")


class Sources:
    """The parts of one version's sources that declare flags, and the types that they mention."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.classes: dict[str, ast.ClassDef] = {}
        self.aliases: dict[str, ast.expr] = {}
        self.declaring: dict[Path, ast.Module] = {}
        folder = root / "vllm"
        declaring = [folder / "engine" / "arg_utils.py", *folder.glob("entrypoints/**/cli_args.py")]
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text("utf-8", errors="replace")
            near = path.relative_to(folder).parts[0] in ("config", "config.py", "engine")
            if not (near or path in declaring or WORDS.search(text)):
                continue
            tree = ast.parse(text)
            if path in declaring:
                self.declaring[path] = tree
            self._learn(tree, near or path in declaring)

    def _learn(self, tree: ast.Module, near: bool) -> None:
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                if near or node.name not in self.classes:
                    self.classes[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                name = named(target) or ""
                known = self.aliases.get(name)
                self.aliases[name] = node.value if near or known is None else known

    def fields(self, name: str) -> dict[str, ast.expr]:
        """The fields of a class with their types, those of its bases among them."""
        node = self.classes.get(name)
        if node is None:
            return {}
        found: dict[str, ast.expr] = {}
        for base in node.bases:
            if isinstance(base, ast.Name):
                found |= self.fields(base.id)
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found[item.target.id] = item.annotation
        return found

    def parts(self, hint: ast.expr | None, depth: int = 0) -> Iterator[ast.expr]:
        """The members of a union, aliases resolved."""
        if isinstance(hint, ast.BinOp):
            yield from self.parts(hint.left, depth)
            yield from self.parts(hint.right, depth)
        elif isinstance(hint, ast.Constant) and isinstance(hint.value, str):
            yield from self.parts(ast.parse(hint.value, mode="eval").body, depth)
        elif isinstance(hint, ast.Subscript) and named(hint.value) in ("Optional", "Union"):
            of = hint.slice
            for part in of.elts if isinstance(of, ast.Tuple) else [of]:
                yield from self.parts(part, depth)
        elif isinstance(hint, ast.Subscript) and named(hint.value) in (
            "Annotated",
            "SkipValidation",
        ):
            of = hint.slice
            yield from self.parts(of.elts[0] if isinstance(of, ast.Tuple) else of, depth)
        elif isinstance(hint, ast.Name) and hint.id in self.aliases and depth < 5:
            yield from self.parts(self.aliases[hint.id], depth + 1)
        elif hint is not None:
            yield hint

    def choices(self, hint: ast.expr | None) -> list[str]:
        found: list[str] = []
        for part in self.parts(hint):
            if isinstance(part, ast.Subscript) and named(part.value) == "Literal":
                of = part.slice
                for item in of.elts if isinstance(of, ast.Tuple) else [of]:
                    if isinstance(item, ast.Constant):
                        found.append(str(item.value))
                    else:
                        found += self.choices(item)
            elif isinstance(part, ast.Subscript) and named(part.value) in ("list", "List"):
                found += self.choices(part.slice)
            elif isinstance(part, ast.Name):
                found += self._members(part.id)
        return found

    def _members(self, name: str) -> list[str]:
        node = self.classes.get(name)
        if node is None or not any("Enum" in (named(base) or "") for base in node.bases):
            return []
        if any(named(base) == "IntEnum" for base in node.bases):
            return []  # given as numbers
        return [
            item.targets[0].id
            for item in node.body
            if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)
        ]

    def kind(self, hint: ast.expr | None) -> str:
        """How many words such a field takes on a command line, as vLLM's get_kwargs decides it."""
        names = {
            named(part.value) if isinstance(part, ast.Subscript) else named(part)
            for part in self.parts(hint)
        }
        names |= {"None" for part in self.parts(hint) if isinstance(part, ast.Constant)}
        if names - {None} == {"bool", "str", "None"}:
            return "optional"
        if "bool" in names:
            return "flag"
        if names & {"Literal"}:
            return "value"
        if names & {"list", "List", "tuple", "Tuple", "set", "Set"}:
            return "many"
        if names & {"dict", "Dict", "Mapping"} or any(self._is_configuration(n) for n in names):
            return "json"
        return "value"

    def keys(self, hint: ast.expr | None, depth: int = 0) -> dict[str, str]:
        """The keys that a JSON value of this type may have."""
        found: dict[str, str] = {}
        names = (named(part) for part in self.parts(hint))
        for name in (
            n for n in names if self._is_configuration(n) and n not in (WHOLE if depth else ())
        ):
            for key, inner in self.fields(name or "").items():
                found[key] = self.kind(inner)
                found |= {f"{key}.{k}": v for k, v in self.keys(inner, depth + 1).items()}
        return found

    def _is_configuration(self, name: str | None) -> bool:
        node = self.classes.get(name or "")
        return node is not None and (name or "").endswith("Config")


def named(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return None
