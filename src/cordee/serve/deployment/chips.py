"""The kinds of chips that vllm-ascend tells apart, and how a container reaches them."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.hw.chip import Chip, chip
from cordee.serve.deployment.flags import TABLES, Release

IMAGE = "quay.io/ascend/vllm-ascend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Fact):
    """One kind of chip."""

    name: str
    chips: str
    """A pattern over the names that the driver reports."""
    image_suffix: str
    kubernetes: str
    """The resource under which a cluster offers such chips."""
    soc_version: str
    """What vllm-ascend is built for."""
    bf16: bool

    def image(self, release: Release) -> str:
        """The image of a release for this kind of chip."""
        return f"{IMAGE}:v{release.ascend}{self.image_suffix}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is to run."""

    chip: Chip
    family: Family
    release: Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount(Fact):
    """What a container needs beside the chips."""

    option: str
    """--device or --volume."""
    path: str
    nodes: bool = False
    """Whether only servers over several nodes need it."""


@cache
def families() -> tuple[Family, ...]:
    """Every kind of chip, in the order of the table."""
    return tuple(rows(TABLES / "families.toml", Family))


@cache
def mounts(*, nodes: bool = False) -> tuple[Mount, ...]:
    """What every container needs; `nodes`: also what those over several nodes do."""
    every = rows(TABLES / "families.toml", Mount, table="mount")
    return tuple(mount for mount in every if nodes or not mount.nodes)


def family_of(name: str) -> tuple[Chip, Family]:
    """The chip of the catalogue with that name, and its kind. Raises `UsageError`."""
    found = chip(name)
    for family in families():
        if fnmatchcase(found.soc_name, family.chips):
            return found, family
    raise UsageError(f"--chip {name}: what vllm-ascend does on this chip is not in its tables")
