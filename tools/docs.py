"""Writes the pages of docs/reference that are derived from code; a test holds them current."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"  # references need PyTorch, not the adapter

import click

from cordee.cli import COMMANDS, cli
from cordee.emulator import session
from cordee.emulator.ops import chapters as chapters
from cordee.emulator.ops import ways
from cordee.emulator.ops.reference import REFERENCES, Reference
from cordee.port import explanation
from cordee.port.summary import TIME

PAGES = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by tools/docs.py (make docs); change what it is derived from instead. -->"


def commands() -> str:
    """The page of all commands with their options."""
    context = click.Context(cli, info_name="cordee", terminal_width=90)
    sections = [f"```\n{cli.get_help(context)}\n```"]
    for name in sorted(COMMANDS):
        command = cli.get_command(context, name)
        assert command is not None
        sections += _help(command, context, name)
    return _page("Commands", *sections)


def _help(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    """A section for a command, and one for each of its own commands."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=90)
    yield f"## {context.command_path}\n\n```\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _help(found, context, child)


def operators() -> str:
    """The page of operators that have a reference of our own, by chapter of the code."""
    sections = ["Every other operator of the adapter runs on PyTorch's own CPU kernel, or refuses."]
    for chapter, found in _by_chapter():
        rows = [f"| `{reference.name}` | {_source(reference)} |" for reference in found]
        sections.append(
            "\n".join([f"## {chapter}", "", "| operator | source |", "|---|---|", *rows])
        )
    sections.insert(1, f"{len(REFERENCES)} operators have one.")
    refused = list(_refused())
    sections += [
        "## Refused by name",
        f"{len(refused)} operators that the adapter registers raise an error with their name.",
        ", ".join(f"`{name}`" for name in refused),
    ]
    return _page("Operators with a reference", *sections)


def _by_chapter() -> Iterator[tuple[str, list[Reference]]]:
    chapters_of: dict[str, list[Reference]] = {}
    for name in sorted(REFERENCES):
        reference = REFERENCES[name]
        _, _, inside = reference.function.__module__.partition("cordee.emulator.ops.")
        chapters_of.setdefault(inside.partition(".")[0], []).append(reference)
    yield from sorted(chapters_of.items())


def _refused() -> Iterator[str]:
    session.start()
    for name, way in ways.device_ways():
        if way == "missing":
            yield name


def _source(reference: Reference) -> str:
    return reference.source.replace("|", "\\|")


def _page(title: str, *sections: str) -> str:
    return "\n\n".join([NOTE, f"# {title}", *sections]) + "\n"


def rules() -> str:
    """The page that lists every rule of `cordee assess`."""
    rows = [
        f"| [{rule.code}](rules/{page}.md) | {rule.title} | {rule.meaning} | {TIME[rule.effort]} |"
        for page, found in explanation.pages().items()
        for rule in found
    ]
    table = ["| rule | found | on Ascend | left to do |", "|---|---|---|---|", *rows]
    return _page("Rules", "What `cordee assess` looks for.", "\n".join(table))


def rule_page(page: str) -> str:
    """The page of the rules that share the first letters of their codes."""
    title, _, words = explanation.introduction(page).partition("\n")
    sections = [explanation.explanation(rule) for rule in explanation.pages()[page]]
    title = title.removeprefix("# ") or f"Rules {page}"
    return _page(title, *filter(None, [words.strip(), *sections, *explanation.shared(page)]))


WRITTEN: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "operators.md": operators,
    "rules.md": rules,
    **{f"rules/{page}.md": partial(rule_page, page) for page in explanation.pages()},
}

if __name__ == "__main__":
    for page, write in WRITTEN.items():
        (PAGES / page).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / page).write_text(write(), "utf-8")
