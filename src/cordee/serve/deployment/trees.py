"""Values inside of values, found by a path of keys and numbers; the whole is never changed, but made anew."""

from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def at(tree: Any, path: Path) -> Any:
    """What stands at a path; None where nothing does."""
    for step in path:
        inside = isinstance(tree, dict | list)
        try:
            tree = tree[step] if inside else None
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def put(tree: Any, path: Path, value: Any) -> Any:
    """The same with another value at a path; mappings that are not there are made."""
    if not path:
        return value
    step, *rest = path
    if isinstance(tree, list) and isinstance(step, int):
        made = list(tree)
        made[step] = put(tree[step], tuple(rest), value)
        return made
    known = dict(tree) if isinstance(tree, dict) else {}
    known[step] = put(known.get(step), tuple(rest), value)
    return known


def without(tree: Any, path: Path) -> Any:
    """The same without what stands at a path, and without the mappings that are empty then."""
    *outer, last = path
    holder = at(tree, tuple(outer))
    if not isinstance(holder, dict) or last not in holder:
        return tree
    rest = {key: value for key, value in holder.items() if key != last}
    if not rest and outer:
        return without(tree, tuple(outer))
    return put(tree, tuple(outer), rest)


def mappings(tree: Any, path: Path = ()) -> Iterator[tuple[Path, dict[Any, Any]]]:
    """Every mapping with its path; what an anchor names is looked at once."""
    waiting: list[tuple[Path, Any]] = [(path, tree)]
    seen: set[int] = set()
    while waiting:
        here, node = waiting.pop()
        if not isinstance(node, dict | list) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, dict):
            yield here, node
        inner = node.items() if isinstance(node, dict) else enumerate(node)
        waiting += reversed([((*here, step), value) for step, value in inner])


def records(given: Any) -> list[dict[Any, Any]]:
    """The mappings of a list, where it is one."""
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def renamed(given: dict[Any, Any], names: dict[Any, Any]) -> dict[Any, Any]:
    """The same with other keys, in the same order."""
    return {names.get(key, key): value for key, value in given.items()}
