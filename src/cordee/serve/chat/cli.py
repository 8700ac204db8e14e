"""`cordee chat`: talk to a service in the terminal."""

import sys

import click
from rich.console import Console
from rich.text import Text

from cordee.core.errors import UsageError
from cordee.serve.asking import KEY, URL
from cordee.serve.chat.conversation import Conversation

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
HELP = """/new         begin anew
/system TEXT what the model is to be
/set NAME VALUE  such as temperature 0.2, max_tokens 500, seed 1
/quit        end; so does Ctrl-D"""


@click.command()
@URL
@click.option("--model", default="", help="Where the service has several.")
@KEY
@click.option("--system", default="", help="What the model is to be.")
@click.option("--max-tokens", type=int)
@click.option("--temperature", type=float)
@click.option("--trace", is_flag=True, help="Show in colours which replica made each token.")
def chat(  # noqa: PLR0913 - one for each option
    url: str,
    model: str,
    key: str,
    system: str,
    max_tokens: int | None,
    temperature: float | None,
    trace: bool,
) -> None:
    """Talk to a service. Lines that begin with / are commands; /help lists them."""
    options = {"max_tokens": max_tokens, "temperature": temperature}
    given = {name: value for name, value in options.items() if value is not None}
    conversation = Conversation(url.rstrip("/").removesuffix("/v1"), key, model, dict(given))
    if system:
        conversation.messages.append({"role": "system", "content": system})
    console = Console(highlight=False, soft_wrap=True)
    while (line := _line(console)) is not None:
        if not line.strip():
            continue
        if line.startswith("/"):
            if line.split()[0] == "/quit":
                return
            console.print(_command(conversation, line), style="dim")
            continue
        try:
            _answer(console, conversation, line, trace)
        except UsageError as error:
            if not sys.stdin.isatty():
                raise
            console.print(f"error: {error}", style="red")
        except KeyboardInterrupt:
            console.print(" (stopped)", style="dim")


def _line(console: Console) -> str | None:
    try:
        return input("> ") if sys.stdin.isatty() else input()
    except (EOFError, KeyboardInterrupt):
        if sys.stdin.isatty():
            console.print()
        return None


def _answer(console: Console, conversation: Conversation, line: str, trace: bool) -> None:
    colours: dict[str | None, str] = {}
    spoke: str | None = None
    for said in conversation.ask(line):
        style = ""
        if trace and said.replica is not None:
            style = colours.setdefault(said.replica, COLOURS[len(colours) % len(COLOURS)])
            if said.replica != spoke:
                spoke = said.replica
                console.print(Text(f"[{spoke}] ", style=f"bold {style}"), end="")
        console.print(Text(said.text, style=style), end="")
    console.print()


def _command(conversation: Conversation, line: str) -> str:
    """Do what a command says; gives what to show."""
    name, _, rest = line.partition(" ")
    if name == "/new":
        kept = [m for m in conversation.messages if m["role"] == "system"]
        conversation.messages[:] = kept
        return "a new conversation"
    if name == "/system":
        others = [m for m in conversation.messages if m["role"] != "system"]
        conversation.messages[:] = [{"role": "system", "content": rest}, *others]
        return "understood"
    if name == "/set":
        key, _, value = rest.partition(" ")
        try:
            conversation.options[key] = float(value) if "." in value else int(value)
        except ValueError:
            return f"{value!r} is no number"
        return f"{key} is {value}"
    return HELP
