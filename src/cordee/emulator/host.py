"""The computer the virtual chip is to run on, as far as it matters: read, not judged."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import CordeeError
from cordee.emulator import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What there is. Nothing is imported and nothing is started to find out."""

    python: tuple[int, int, int]
    system: str
    architecture: str
    environment: Mapping[str, str]
    root: Path
    """Where the file system begins."""
    site_packages: list[str]
    """Where installed distributions are looked for."""
    runtime: Path | None = None
    """Where the built libraries of the virtual chip lie; None where nothing is built yet."""

    @classmethod
    def here(cls) -> "Host":
        """The computer and the environment this process runs in."""
        return cls(
            python=sys.version_info[:3],
            system=platform.system(),
            architecture=platform.machine(),
            environment=os.environ,
            root=Path("/"),
            site_packages=sys.path,
            runtime=_runtime(),
        )

    def version(self, distribution: str) -> str | None:
        """Of an installed distribution; None where it is not installed."""
        found = self._distribution(distribution)
        return found.version if found else None

    def needs_cuda(self, distribution: str) -> bool:
        """Whether a distribution asks for CUDA packages."""
        found = self._distribution(distribution)
        return any(
            need.startswith(("nvidia-", "cuda-")) and "extra ==" not in need
            for need in (found.requires or () if found else ())
        )

    def autoloads(self, distribution: str) -> bool:
        """Whether `import torch` loads the distribution by itself."""
        found = self._distribution(distribution)
        return bool(found and found.entry_points.select(group="torch.backends"))

    def command(self, *names: str) -> str | None:
        """Path of the first of `names` that can be started."""
        path = self.environment.get("PATH", "")
        return next((found for name in names if (found := shutil.which(name, path=path))), None)

    def cann(self) -> Path | None:
        """Where Ascend's own software is installed."""
        named = [self.environment.get(name) for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")]
        usual = self.root / "usr/local/Ascend"
        places = [*(Path(name) for name in named if name), usual / "ascend-toolkit/latest", usual]
        return next((place for place in places if place.is_dir()), None)

    def chips(self) -> list[str]:
        """Device files of real chips."""
        return sorted(path.name for path in self.root.glob("dev/davinci[0-9]*"))

    def free_memory_bytes(self) -> int | None:
        """What the kernel can still give without swapping; None where it does not say."""
        meminfo = self.root / "proc/meminfo"
        if not meminfo.is_file():
            return None
        for line in meminfo.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
        return None

    def free_shared_memory_bytes(self) -> int | None:
        """Room in /dev/shm; None where there is none."""
        shared = self.root / "dev/shm"
        return shutil.disk_usage(shared).free if shared.is_dir() else None

    def _distribution(self, name: str) -> importlib.metadata.Distribution | None:
        found = importlib.metadata.Distribution.discover(name=name, path=self.site_packages)
        return next(iter(found), None)


def _runtime() -> Path | None:
    try:
        return build.built()
    except CordeeError:
        return None  # a compiler or a package is missing; each is looked at by itself
