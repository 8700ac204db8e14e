"""Compiles the emulated runtime, once per machine and version, into a cache directory."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import CordeeError
from cordee.emulator.build_targets import TARGETS, Library, Places
from cordee.emulator.catalogue import catalogue_header


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What compiles, and where the vendor's headers are."""

    compilers: dict[str, str]
    """Path of the compiler by language: "c" and "c++"."""
    versions: dict[str, str]
    """First line of what each compiler says of itself."""
    torch: Path
    """Folder of the installed torch."""
    torch_npu: Path
    """Folder of the installed torch_npu."""


def libraries() -> Path:
    """The folder with the compiled libraries; compiles what is missing or out of date.

    Processes that call it at the same time compile once. Raises `CordeeError` where there is no
    compiler or no torch_npu, or where compiling fails.
    """
    toolchain = _toolchain()
    keys = {target.name: _key(target, toolchain) for target in TARGETS}
    folder = _cache() / _digest(*sorted(keys.values())) / "lib"
    if not folder.is_dir():
        with _lock():
            if not folder.is_dir():
                _build(folder, keys, toolchain)
    return folder


def _toolchain() -> Toolchain:
    compilers = {
        "c": _compiler("CC", "gcc", "cc", "clang"),
        "c++": _compiler("CXX", "g++", "clang++"),
    }
    versions = {language: _version(path) for language, path in compilers.items()}
    return Toolchain(compilers, versions, _package("torch"), _package("torch_npu"))


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)  # found, not imported: importing torch_npu needs us
    if spec is None or spec.origin is None:
        raise CordeeError(
            f"{name} is not installed, and the emulator is compiled against its headers: "
            'pip install "cordee[emulator]"'
        )
    return Path(spec.origin).parent


def _compiler(variable: str, *names: str) -> str:
    wanted = os.environ.get(variable)
    for name in [wanted] if wanted else names:
        if found := shutil.which(name):
            return found
    raise CordeeError(
        f"no compiler: {variable}={wanted} cannot be started"
        if wanted
        else f"no compiler ({', '.join(names)}): install one, e.g. apt-get install g++, "
        f"or name one in {variable}"
    )


def _version(compiler: str) -> str:
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cordee"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _key(target: Library, toolchain: Toolchain) -> str:
    """Names what a library is compiled from: any change of it gives another key."""
    texts = [path.read_text("utf-8") for path in (*target.paths(), *target.headers())]
    headers = toolchain.torch_npu / "version.py"
    return _digest(
        repr(target),
        toolchain.compilers[target.language],
        toolchain.versions[target.language],
        str(toolchain.torch_npu),
        headers.read_text("utf-8") if headers.is_file() else "",
        catalogue_header() if target.with_catalogue else "",
        *texts,
    )


@contextmanager
def _lock() -> Iterator[None]:
    cache = _cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        file = (cache / "lock").open("w")
    except OSError as error:
        raise CordeeError(
            f"{cache} cannot be written ({error.strerror}): name another folder in XDG_CACHE_HOME"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(folder: Path, keys: dict[str, str], toolchain: Toolchain) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        places = Places(
            made=Path(name) / "lib",
            generated=Path(name) / "generated",
            torch=toolchain.torch,
            torch_npu=toolchain.torch_npu,
            python=Path(sysconfig.get_paths()["include"]),
        )
        places.made.mkdir()
        places.generated.mkdir()
        (places.generated / "catalogue.h").write_text(catalogue_header(), "utf-8")
        for target in TARGETS:
            kept = _cache() / "objects" / keys[target.name] / target.name
            if not kept.is_file():
                _make(target, kept, places, toolchain)
            shutil.copy2(kept, places.made / target.name)
        places.made.rename(folder)


def _make(target: Library, kept: Path, places: Places, toolchain: Toolchain) -> None:
    compiler = toolchain.compilers[target.language]
    objects = [places.generated / f"{target.name}.{source.stem}.o" for source in target.paths()]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        commands = [
            [compiler, *target.compiling(source, made, places)]
            for source, made in zip(target.paths(), objects, strict=True)
        ]
        list(pool.map(_compile, commands))
    output = places.generated / target.name
    _compile([compiler, *target.linking(objects, output, places)])
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(shutil.copy2(output, f"{kept}.{os.getpid()}"), kept)


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CordeeError(
            f"the emulated runtime does not compile:\n{' '.join(command)}\n{done.stderr.rstrip()}"
        )


if __name__ == "__main__":
    libraries()
