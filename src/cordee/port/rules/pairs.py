"""Which torch-npu goes with which torch, and how a file comes to ask for both."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

from cordee.core.facts import Fact, rows
from cordee.port.documents.requirement import Requirement, pip_requirement
from cordee.port.finding import Edit, Fix, NewFile, Safety
from cordee.port.rule import Document
from cordee.port.rules.known_packages import package

SOURCE = "https://pypi.org/project/torch-npu/ (its versions, 2.13.0 asks for torch==2.13.0.*)"
HEAD = (
    "# What pip installs on Ascend: torch for the CPU, torch-npu, and the rest of {name} without\n"
    "# what is made for NVIDIA.\n"
    "--extra-index-url https://download.pytorch.org/whl/cpu\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Fact):
    """Versions that are built for each other."""

    torch: str
    torch_npu: str


@dataclass(frozen=True, slots=True)
class Pair:
    """What to install. `kept` says whether the version of torch that was asked for stays."""

    torch: str
    torch_npu: str
    kept: bool
    advice: str


def pair(asked: Requirement, aim: str) -> Pair:
    """The pair for what is asked for, or the one of the version aimed at."""
    table = _rows()
    if asked.exact in table:
        npu = table[asked.exact]
        advice = f"torch-npu=={npu} is built for torch=={asked.exact}; {_way(asked)}"
        return Pair(asked.exact, npu, True, advice)
    torch = next(
        (version for version in reversed(table) if version.startswith(f"{aim}.")), f"{aim}.0"
    )
    npu = table.get(torch, torch)
    old = f"there is no torch-npu for {asked.exact}: " if asked.exact else ""
    advice = (
        f"{old}torch=={torch} with torch-npu=={npu}, which are built for each other; {_way(asked)}"
    )
    return Pair(torch, npu, not asked.exact and _allows(asked, torch), advice)


def fix(asked: Requirement, pair: Pair, document: Document) -> Fix | None:
    """Both in the file; in a portable port a file for Ascend beside a file of requirements."""
    if asked.manager != "pip" or asked.marker or asked.direct:
        return None
    if document.setting.portable:
        name = PurePosixPath(document.source.path)
        listed = document.kind == "requirements" and name.suffix == ".txt"
        return Fix((), Safety.UNSAFE, (_beside(name, pair, document),)) if listed else None
    if not asked.another:
        return None
    edits = [
        Edit(asked.span.end, asked.span.end, asked.another.replace("{requirement}", _npu(pair)))
    ]
    if asked.exact != pair.torch or asked.build:
        edits.insert(0, Edit(asked.span.start, asked.span.end, f"torch=={pair.torch}"))
    return Fix(tuple(edits), Safety.SAFE if asked.exact == pair.torch else Safety.UNSAFE)


def _npu(pair: Pair) -> str:
    return f"torch-npu=={pair.torch_npu}"


def _way(asked: Requirement) -> str:
    if asked.manager == "conda":
        return "on Ascend pip installs both, torch from https://download.pytorch.org/whl/cpu"
    return (
        "no marker tells NVIDIA from Ascend: a file of requirements or an extra of its own for "
        "Ascend asks for both, torch from https://download.pytorch.org/whl/cpu"
    )


def _beside(name: PurePosixPath, pair: Pair, document: Document) -> NewFile:
    """The requirements for Ascend. Lines that ask for nothing of NVIDIA's stay as they are."""
    lines = []
    for line in document.source.text.splitlines():
        kept = _on_ascend(line, pair)
        if kept is not None:
            lines.append(kept)
    text = HEAD.replace("{name}", name.name) + "\n".join(lines) + "\n"
    return NewFile(str(name.with_name(f"{name.stem}-ascend.txt")), text)


def _on_ascend(line: str, pair: Pair) -> str | None:
    said = re.split(r"(?:^|\s)#", line)[0].strip()
    if re.match(r"(?:--?(?:extra-)?index-url|-i|-f|--find-links)\b.*(?:cu\d|nvidia)", said):
        return None
    asked = None if not said or said.startswith("-") else pip_requirement(said, 0, "", "")
    if asked is None:
        return line
    if asked.name == "torch":
        return f"torch=={pair.torch}\n{_npu(pair)}"
    row = package(asked.name, asked.extras)
    if row is not None and row.meaning != "runs as is":
        return (
            f"{row.native}  # for {asked.text}" if row.native else f"# {asked.text}: {row.advice}"
        )
    return re.sub(r"\+cu\d+", "", line)


def _allows(asked: Requirement, version: str) -> bool:
    """Whether bounds such as >=2.0 leave the version in."""
    if not asked.versions:
        return True
    numbers = tuple(int(part) for part in version.split("."))
    for sign, text in re.findall(r"([<>=!~^]+)\s*(\d+(?:\.\d+)*)", asked.versions):
        bound = tuple(int(part) for part in text.split("."))
        if "<" in sign and numbers[: len(bound)] >= bound:
            return False
        if sign in ("~=", "^", "=="):
            return False
    return True


@cache
def _rows() -> dict[str, str]:
    found = rows(files(__package__) / "pairs.toml", Row)
    return {row.torch: row.torch_npu for row in found}
