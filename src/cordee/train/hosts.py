"""On which hosts a job runs: options as torchrun has them, a file of hosts, or what SLURM says."""

import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict, TypeVar

import click

from cordee.core.errors import UsageError
from cordee.train.rendezvous import Meeting

PORT = 29400
"""Where agents listen if nothing else is said; as torchrun's rendezvous."""
SECRET = "CORDEE_TRAIN_SECRET"
SECRET_S = 30.0
SLURM_PORTS = 10_000
NAMES = r"[^,\[\]]+(?:\[[^\[\]]*\][^,\[\]]*)*"
"""One word of SLURM's list of hosts, as `n[1-3]x`."""
F = TypeVar("F", bound=Callable[..., object])


class HostOptions(TypedDict):
    """What the command line says of hosts."""

    nnodes: str
    node_rank: int
    rdzv_endpoint: str
    rdzv_id: str
    hosts: Path | None
    slurm: bool
    secret: Path | None
    address: str
    other_address: tuple[str, ...]


def host_options(command: F) -> F:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


# Variables as torchrun's: github.com/pytorch/pytorch torch/distributed/argparse_util.py.
_OPTIONS = (
    click.option(
        "--nnodes",
        default="",
        envvar="PET_NNODES",
        metavar="N|MIN:MAX",
        help="Hosts, each with an agent.",
    ),
    click.option(
        "--node-rank",
        default=-1,
        envvar="PET_NODE_RANK",
        help="0 for the host that begins; else it is found.",
    ),
    click.option(
        "--rdzv-endpoint",
        default="",
        envvar="PET_RDZV_ENDPOINT",
        metavar="HOST:PORT,...",
        help="Where agents find each other: the first host, and more by which one that comes later finds the job.",
    ),
    click.option(
        "--rdzv-id",
        default="",
        envvar="PET_RDZV_ID",
        help="Name of the job: hosts of another one are refused.",
    ),
    click.option(
        "--hosts",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file with HOST or HOST:PORT on each line; the same command is started on each.",
    ),
    click.option("--slurm", is_flag=True, help="Hosts are those of this SLURM step."),
    click.option(
        "--secret",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=f"A file with the secret that hosts have in common; else {SECRET}.",
    ),
    click.option(
        "--address", default="", metavar="HOST[:PORT]", help="How others reach this host."
    ),
    click.option(
        "--other-address",
        multiple=True,
        metavar="HOST",
        help="Another address of this host, for members' links where that over the first is slow or down.",
    ),
)


def meeting_of(
    options: HostOptions, environment: Mapping[str, str] = os.environ
) -> tuple[Meeting, str] | None:
    """Where hosts meet, and their secret; None where there is only this one. Raises `UsageError`."""
    if options["slurm"]:
        meeting = slurm(environment, options["address"])
    elif options["hosts"] is not None:
        meeting = _of_file(options["hosts"], options)
    elif options["rdzv_endpoint"]:
        endpoints = tuple(with_port(e) for e in options["rdzv_endpoint"].split(",") if e)
        least, most = _counts(options["nnodes"] or str(len(endpoints)))
        meeting = Meeting(
            endpoints=endpoints,
            least=least,
            most=most,
            rank=options["node_rank"],
            job=options["rdzv_id"] or "cordee",
            address=options["address"],
        )
    elif options["nnodes"] in ("", "1", "1:1"):
        return None
    else:
        raise UsageError("several hosts need --rdzv-endpoint HOST:PORT, --hosts FILE or --slurm")
    return meeting, secret_of(options["secret"], environment, shared=options["slurm"])


def _of_file(file: Path, options: HostOptions) -> Meeting:
    lines = [line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines()]
    endpoints = tuple(with_port(line) for line in lines if line)
    if not endpoints:
        raise UsageError(f"{file}: names no host")
    for endpoint in endpoints:
        if not re.fullmatch(r"[\w.\-\[\]:]+:\d+", endpoint):
            raise UsageError(f"{file}: {endpoint!r} is no HOST or HOST:PORT")
    least, most = _counts(options["nnodes"] or str(len(endpoints)))
    return Meeting(
        endpoints=endpoints,
        least=least,
        most=most,
        rank=options["node_rank"],
        job=options["rdzv_id"] or "cordee",
        address=options["address"],
    )


def slurm(environment: Mapping[str, str], address: str = "") -> Meeting:
    """What the variables of a SLURM step say. Raises `UsageError` where this is none."""
    names = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    job, rank = environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_NODEID", "")
    if not names or not job.isdecimal() or not rank.isdecimal():
        raise UsageError(
            "--slurm: SLURM_JOB_ID, SLURM_NODEID and SLURM_STEP_NODELIST are not set: start it with srun"
        )
    if environment.get("SLURM_LOCALID", "0") != "0":
        raise UsageError(
            "--slurm: one agent on each host is enough: srun --ntasks-per-node=1 cordee train --slurm ..."
        )
    step = environment.get("SLURM_STEP_ID", "0")
    port = 20_000 + int(job) % SLURM_PORTS
    hosts = node_list(names)
    return Meeting(
        endpoints=tuple(f"{host}:{port}" for host in hosts),
        least=len(hosts),
        most=len(hosts),
        rank=int(rank),
        job=f"slurm-{job}.{step}",
        address=address,
    )


def node_list(text: str) -> list[str]:
    """The names in a list of hosts as SLURM writes it: `a[01-03,7],b`. Raises `UsageError`."""
    if not re.fullmatch(f"{NAMES}(?:,{NAMES})*", text):
        raise UsageError(f"{text!r} is no list of hosts as SLURM writes it")
    return [name for word in re.findall(NAMES, text) for name in _expanded(word)]


def _expanded(word: str) -> list[str]:
    match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", word)
    if match is None:
        return [word]
    numbers: list[str] = []
    for part in match[2].split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"{word!r} is no list of hosts as SLURM writes it")
        count = range(int(first), int(last if dash else first) + 1)
        numbers += [str(number).zfill(len(first)) for number in count]
    return [match[1] + number + rest for number in numbers for rest in _expanded(match[3])]


def secret_of(file: Path | None, environment: Mapping[str, str], *, shared: bool) -> str:
    """The secret of a job. Raises `UsageError` where there is none.

    `shared`: hosts see the same home, so that the first of them can write one there.
    """
    secret = file.read_text("utf-8").strip() if file is not None else environment.get(SECRET, "")
    if secret:
        return secret
    if file is not None:
        raise UsageError(f"{file}: is empty, it should have the secret of the job")
    if not shared:
        raise UsageError(f"several hosts need a secret in common: --secret FILE, or {SECRET}")
    return _shared(_slurm_file(environment))


def forget_secret(environment: Mapping[str, str] = os.environ) -> None:
    """The job is over: what its first agent wrote under SLURM goes."""
    with suppress(OSError):
        _slurm_file(environment).unlink()


def _slurm_file(environment: Mapping[str, str]) -> Path:
    job, step = environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_STEP_ID", "0")
    return Path(environment.get("HOME", ".")) / f".cordee-train-{job}-{step}"


def _shared(file: Path) -> str:
    """A secret in a file that all hosts see: whoever comes first writes it."""
    with suppress(FileExistsError):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_hex(16) + "\n")
    end_s = time.monotonic() + SECRET_S
    while not (text := file.read_text("utf-8")).endswith("\n"):
        if time.monotonic() > end_s:
            raise UsageError(f"{file}: has no secret; remove it, or set {SECRET}")
        time.sleep(0.1)
    return text.strip()


def with_port(endpoint: str) -> str:
    """HOST:PORT, with the usual port where none is said."""
    host, colon, port = endpoint.strip().rpartition(":")
    return f"{host}:{port}" if colon and port.isdecimal() else f"{endpoint.strip()}:{PORT}"


def _counts(text: str) -> tuple[int, int]:
    least, colon, most = text.partition(":")
    if not least.isdecimal() or (colon and not most.isdecimal()):
        raise UsageError(f"--nnodes {text}: is no N or MIN:MAX")
    return int(least), int(most if colon else least)
