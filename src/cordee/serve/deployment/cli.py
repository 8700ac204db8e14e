"""`cordee serve check-args`: an existing vLLM deployment, and what it is on Ascend."""

import json
import sys
from pathlib import Path

import click

from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON
from cordee.core.shell.words import Word
from cordee.serve.deployment.chips import Target, family_of
from cordee.serve.deployment.files import launches_of
from cordee.serve.deployment.flags import release
from cordee.serve.deployment.launch import Launch, launches_in, only_vllm
from cordee.serve.deployment.report import Report, report
from cordee.serve.deployment.shown import as_json, as_text
from cordee.serve.deployment.whole import is_whole, whole
from cordee.serve.deployment.written import written


@click.command("check-args", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--file",
    "-f",
    "file",
    metavar="FILE",
    help="A script, Dockerfile, compose file, manifest or a chart's values; - for standard input.",
)
@click.option("--chip", default="Ascend910B3", show_default=True, help="The chip it is to run on.")
@click.option(
    "--vllm", "version", metavar="VERSION", help="The version of vLLM there; else the newest."
)
@click.option("--all", "everything", is_flag=True, help="Also why the rest works, and all sources.")
@AS_JSON
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the new command or file there.",
)
def check_args(
    command: tuple[str, ...],
    file: str | None,
    chip: str,
    version: str | None,
    output: Path | None,
    **form: bool,
) -> None:
    """Say what of a vLLM deployment works on Ascend, and write its new command.

    COMMAND is one quoted command, or its words after --. Exit 0 when the new command needs no
    decision, 1 when it does, 2 when no vLLM command is there.

    \b
    cordee serve check-args "vllm serve Qwen/Qwen3-8B --quantization awq"
    cordee serve check-args --file serve.sh --chip Ascend310P3
    """
    chosen, family = family_of(chip)
    target = Target(chosen, family, release(version))
    launches, folder, text = _given(command, file)
    reports, new = [report(launch, target, folder) for launch in launches], ""
    if is_whole(reports):
        new, reports = whole(text, reports)
    if form["as_json"]:
        print(json.dumps([as_json(r, new) for r in reports], indent=2))
    else:
        print(_sendable(as_text(reports, new, everything=form["everything"])), end="")
    if output is not None:
        _write(output, reports, new)
    sys.exit(1 if any(r.decisions for r in reports) else 0)


def _sendable(text: str) -> str:
    """Without what no file can hold, such as half a letter of an argument."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _given(command: tuple[str, ...], file: str | None) -> tuple[list[Launch], Path, str]:
    """The servers that are asked about, the folder that their paths are relative to, and the file."""
    if bool(command) == (file is not None):
        raise UsageError("give either a command, or --file with a file that starts vLLM")
    if file is None:
        if len(command) == 1:
            launches = launches_in(command[0])
        else:
            launches = launches_in(" ".join(Word(word).written() for word in command))
        only_vllm(launches, "the command")
        return launches, Path(), ""
    if file == "-":
        read, folder = sys.stdin.buffer.read(), Path()
    else:
        try:
            read, folder = Path(file).read_bytes(), Path(file).parent
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"{file}: {said}") from error
    try:
        text = read.decode("utf-8-sig")
        return launches_of(text, file, "" if file == "-" else file), folder, text
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: this is no text in UTF-8") from error


def _write(output: Path, reports: list[Report], file: str) -> None:
    scripts = "\n".join(written(r) for r in reports)
    shell = all(r.launch.kind == "shell" for r in reports)
    try:
        output.write_text(_sendable(file or ("#!/bin/bash\n" if shell else "") + scripts), "utf-8")
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}") from error
