"""The commands that find and rewrite ties to NVIDIA."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

from cordee.core.errors import UsageError
from cordee.core.tables import table
from cordee.port import baseline, explanation, outcome, porting, survey
from cordee.port.assessment import Assessment
from cordee.port.configuration import BASELINE, configuration
from cordee.port.formats import FORMATS, of_port, text, written
from cordee.port.formats.ported import written as as_plain
from cordee.port.porting import Request, Where
from cordee.port.prove import Proof, Trial, showing
from cordee.port.prove import prove as carry_out
from cordee.port.repository import Repository
from cordee.port.setting import Style
from cordee.port.summary import TIME
from cordee.port.survey import Options
from cordee.port.writing import replace_file

PATH = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
STYLE = click.option(
    "--style", type=click.Choice([style.value for style in Style]), help="Run on every chip (the usual), or on Ascend only."
)  # fmt: skip
TORCH = click.option(
    "--torch", default="", metavar="VERSION", help="Of torch and torch_npu, to aim at."
)
SELECT = click.option("--select", metavar="CODES", help="Only these rules: NV1,NV203.")
IGNORE = click.option("--ignore", metavar="CODES", help="Not these rules.")
JOBS = click.option("--jobs", default=0, metavar="N", help="How many processes; one per processor.")
NO_CACHE = click.option("--no-cache", is_flag=True, help="Judge every file anew, and keep nothing.")


@click.command()
@click.argument("path", type=PATH, default=".")
@click.option(
    "--format", "name", type=click.Choice(list(FORMATS)), default="text", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=FILE, help="Write the report there.")
@STYLE
@TORCH
@click.option(
    "--since", default="", metavar="REV", help="Only what was added since a git revision."
)
@click.option("--baseline", "known", type=FILE, help=f"Known findings; {BASELINE} if it is there.")
@click.option("--write-baseline", is_flag=True, help="Make all that is found known.")
@SELECT
@IGNORE
@JOBS
@NO_CACHE
def assess(  # noqa: PLR0913 - an argument is an option
    path: Path, name: str, as_json: bool, output: Path | None, style: str | None, torch: str,
    since: str, known: Path | None, write_baseline: bool, select: str | None, ignore: str | None,
    jobs: int, no_cache: bool,
) -> None:  # fmt: skip
    """Find every tie to NVIDIA in the repository or file PATH. Exit 1 if there is any."""
    options = Options(
        style=Style(style) if style else None, torch=torch, since=since, baseline=known,
        use_baseline=not write_baseline, select=_codes(select), ignore=_codes(ignore),
        jobs=jobs, cache=not no_cache,
    )  # fmt: skip
    with _progress() as told:
        assessment = survey.assess(path, options, told)
    if write_baseline:
        print(_write_baseline(path, known, assessment))
        return
    _report(assessment, "json" if as_json else name, output, path)
    sys.exit(1 if any(file.findings for file in assessment.files) else 0)


@click.command()
@click.argument("path", type=PATH, default=".")
@click.option("-o", "out", type=PATH, help="A folder for the ported copy; PATH-ascend.")
@click.option("--in-place", is_flag=True, help="Change the files themselves.")
@click.option("--diff", is_flag=True, help="Print a patch, and write nothing.")
@click.option("--undo", is_flag=True, help="Take back the port in PATH.")
@STYLE
@TORCH
@click.option("--unsafe", is_flag=True, help="Make fixes too that a person has to look at.")
@click.option("--force", is_flag=True, help="In place, although changes are not committed.")
@click.option("--prove", metavar="COMMAND", help="Run COMMAND in the port, on a virtual chip.")
@click.option("--chips", default=1, show_default=True, help="How many it may use for that.")
@click.option(
    "--limit", default=1800.0, show_default=True, metavar="SECONDS", help="For each run of COMMAND."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@SELECT
@IGNORE
@JOBS
@NO_CACHE
def port(  # noqa: PLR0913 - an argument is an option
    path: Path, out: Path | None, in_place: bool, diff: bool, undo: bool, style: str | None,
    torch: str, unsafe: bool, force: bool, prove: str | None, chips: int, limit: float,
    as_json: bool, select: str | None, ignore: str | None, jobs: int, no_cache: bool,
) -> None:  # fmt: skip
    """Rewrite for Ascend what can be proven, into a copy of PATH, and say what is left."""
    if undo:
        print("\n".join(f"undone: {text.clean(each)}" for each in porting.undo(path)))
        return
    options = Options(
        style=Style(style) if style else None, torch=torch, use_baseline=False,
        select=_codes(select), ignore=_codes(ignore), jobs=jobs, cache=not no_cache,
    )  # fmt: skip
    where = _where(out, in_place, diff, prove)
    request = Request(path=path, where=where, out=out, unsafe=unsafe, force=force, options=options)
    with _progress() as told:
        ported = porting.port(request, of_port, told)
    if diff and not as_json:
        sys.stdout.buffer.write(ported.patch)
    elif not as_json:
        outcome.show(ported, Console(highlight=False), proving=prove is not None)
    if prove is not None:
        ported = porting.proven(ported, _proof(ported, prove, chips, limit), of_port)
    if as_json:
        sys.stdout.buffer.write(as_plain(ported))
    elif ported.proof is not None:
        showing.show(ported.proof, Console(highlight=False))
    sys.exit(0 if ported.proof is None or ported.proof.holds else 1)


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Say what the rule CODE looks for, and why, with examples; without CODE, list all rules."""
    console = Console(highlight=False)
    if code:
        console.print(Markdown(explanation.explanation(explanation.rule(code))))
        return
    made = table(("rule",), (), ("found", "on Ascend", "left to do"))
    for rule in explanation.rules():
        made.add_row(rule.code, rule.title, rule.meaning, TIME[rule.effort])
    console.print(made)


def _proof(ported: porting.Ported, command: str, chips: int, limit_s: float) -> Proof:
    """What running the port shows."""
    assert ported.folder is not None
    trial = Trial(
        ported=ported.folder,
        before={file.path: file.before for file in ported.changed},
        command=command,
        portable=ported.assessment.style == Style.PORTABLE,
        chips=chips,
        limit_s=limit_s,
    )
    return carry_out(trial, ported.assessment.findings)


def _where(out: Path | None, in_place: bool, diff: bool, prove: str | None) -> Where:
    if (out is not None) + in_place + diff > 1:
        raise UsageError("-o, --in-place and --diff: one of them")
    if diff and prove is not None:
        raise UsageError("--prove: needs a port, and --diff writes none")
    return Where.IN_PLACE if in_place else Where.NOWHERE if diff else Where.OUT


def _report(assessment: Assessment, name: str, output: Path | None, path: Path) -> None:
    if output is not None:
        try:
            replace_file(output, written(assessment, name))
        except OSError as error:
            raise UsageError(f"{output}: {error.strerror}") from error
    elif name == "text":
        text.show(assessment, Console(highlight=False), path)
    else:
        sys.stdout.buffer.write(written(assessment, name))


def _write_baseline(path: Path, known: Path | None, assessment: Assessment) -> str:
    root = Repository.at(path).root
    file = known or configuration(root).baseline or root / BASELINE
    try:
        replace_file(file, baseline.written(assessment.findings).encode())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    return f"{sum(1 for _ in assessment.findings):,} findings are known from now on: {file}"


def _codes(written: str | None) -> tuple[str, ...]:
    return tuple(code.strip().upper() for code in (written or "").split(",") if code.strip())


@contextmanager
def _progress() -> Iterator[survey.Progress]:
    """A bar on a terminal. It has no thread, as the processes that judge may be copies of this one."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, of: None
        return
    with Progress(console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("files")
        yield lambda done, of: bar.update(task, completed=done, total=of, refresh=True)
