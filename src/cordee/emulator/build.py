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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import CordeeError, UsageError
from cordee.emulator import prebuilt
from cordee.emulator.build_targets import TARGETS, Library, Places
from cordee.emulator.catalogue import catalogue_header

# Folders of a CANN installation whose existence the adapter checks when it is imported.
TOOLKIT = ("runtime", "compiler", "opp")


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


def libraries(*, kernel: bool = True) -> Path:
    """The folder with the compiled libraries; compiles what is missing or out of date.

    Without `kernel` it holds the C libraries alone, for programs that speak to the runtime directly.
    Processes that call it at the same time compile each library once. Raises `CordeeError` where
    there is no compiler or no torch_npu, or where compiling fails. CORDEE_LIBRARIES names a folder
    that is taken as it is; `cordee run` sets it, so that its processes need not ask the compiler.
    """
    if given := os.environ.get("CORDEE_LIBRARIES"):
        return Path(given)
    if kernel and (ready := _prebuilt()):
        return ready
    toolchain = _toolchain()
    targets = [target for target in TARGETS if kernel or not target.with_torch]
    keys = {target.name: _key(target, toolchain) for target in targets}
    folder = _folder(keys)
    if not folder.is_dir():
        _build(folder, targets, keys, toolchain)
    return folder


def built() -> Path | None:
    """What `libraries` gives, or None where it would compile first. Raises as it does."""
    if ready := _prebuilt():
        return ready
    toolchain = _toolchain()
    folder = _folder({target.name: _key(target, toolchain) for target in TARGETS})
    return folder if folder.is_dir() else None


def _prebuilt() -> Path | None:
    """What came with the wheel, if it fits."""
    return prebuilt.found(_package("torch"), _package("torch_npu"))


def _folder(keys: dict[str, str]) -> Path:
    return _cache() / _digest(*sorted(keys.values())) / "lib"


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
        raise UsageError(
            f"{name} is not installed, and the emulator is compiled against its headers: "
            'pip install "cordee[emulator]"'
        )
    return Path(spec.origin).parent


def _compiler(variable: str, *names: str) -> str:
    wanted = os.environ.get(variable)
    for name in [wanted] if wanted else names:
        if found := shutil.which(name):
            return found
    raise UsageError(
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
def _lock(folder: Path) -> Iterator[None]:
    _prepare(folder)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made ({error.strerror}): name another folder in XDG_CACHE_HOME"
        ) from error


def _build(
    folder: Path, targets: list[Library], keys: dict[str, str], toolchain: Toolchain
) -> None:
    for place in TOOLKIT:
        _prepare(folder.parent / place)
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
        with ExitStack() as locks:
            missing = [target for target in targets if _is_missing(target, keys, locks)]
            for target in targets:
                if target not in missing:
                    shutil.copy2(_kept(target, keys), places.made / target.name)
            _make(missing, keys, places, toolchain)
        _settle(places.made, folder)


def _kept(target: Library, keys: dict[str, str]) -> Path:
    return _cache() / "objects" / keys[target.name] / target.name


def _is_missing(target: Library, keys: dict[str, str], locks: ExitStack) -> bool:
    """Whether this process has to make it; no other one does until `locks` is closed."""
    kept = _kept(target, keys)
    locks.enter_context(_lock(kept.parent))
    return not kept.is_file()


def _settle(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:  # another process was faster, and its libraries are the same
        if not folder.is_dir():
            raise


def _make(
    targets: list[Library], keys: dict[str, str], places: Places, toolchain: Toolchain
) -> None:
    """Compiles all of them side by side, the last one's first, which take longest; then links in order."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        objects = {
            target.name: [
                pool.submit(_object, target, unit, places, toolchain) for unit in target.units()
            ]
            for target in reversed(targets)
        }
        for target in targets:
            made = [each.result() for each in objects[target.name]]
            _link(target, made, _kept(target, keys), places, toolchain)


def _link(
    target: Library, objects: list[Path], kept: Path, places: Places, toolchain: Toolchain
) -> None:
    output = places.made / target.name
    compiler = toolchain.compilers[target.language]
    _compile([compiler, *target.linking(objects, output, places)])
    os.replace(shutil.copy2(output, f"{kept}.{os.getpid()}"), kept)


def _object(target: Library, unit: tuple[Path, ...], places: Places, toolchain: Toolchain) -> Path:
    """One compiled unit; units whose sources did not change are not compiled again."""
    kept = _cache() / "objects" / f"{_object_key(target, unit, toolchain)}.o"
    if not kept.is_file():
        source = unit[0] if len(unit) == 1 else _together(target, unit, places)
        made = places.generated / f"{target.name}.{source.stem}.o"
        compiler = toolchain.compilers[target.language]
        _compile([compiler, *target.compiling(source, made, places)])
        os.replace(shutil.copy2(made, f"{kept}.{os.getpid()}"), kept)
    return kept


def _together(target: Library, unit: tuple[Path, ...], places: Places) -> Path:
    """A source that includes those of the unit."""
    source = places.generated / f"{target.name}{unit[0].suffix}"
    source.write_text("".join(f'#include "{path}"\n' for path in unit), "utf-8")
    return source


def _object_key(target: Library, unit: tuple[Path, ...], toolchain: Toolchain) -> str:
    packages = [toolchain.torch_npu, *([toolchain.torch] if target.with_torch else [])]
    versions = [(package / "version.py").read_text("utf-8") for package in packages]
    texts = [path.read_text("utf-8") for path in (*unit, *target.headers())]
    catalogue = catalogue_header() if target.with_catalogue else ""
    return _digest(toolchain.versions[target.language], repr(target), *versions, catalogue, *texts)


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CordeeError(
            f"the emulated runtime does not compile:\n{' '.join(command)}\n{done.stderr.rstrip()}"
        )


if __name__ == "__main__":
    libraries()
