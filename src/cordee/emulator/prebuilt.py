"""Libraries that came with the wheel, for computers without a compiler; `tools/wheel_hook.py` puts them there."""

import hashlib
from pathlib import Path

from cordee.emulator.build_targets import TARGETS
from cordee.emulator.catalogue import catalogue_header

FOLDER = Path(__file__).with_name("prebuilt")
STAMP = FOLDER / "stamp"


def stamp(torch: Path, torch_npu: Path) -> str:
    """What the libraries follow from but for the compiler: our sources, and the versions of both packages."""
    made = hashlib.sha256(catalogue_header().encode())
    for target in TARGETS:
        made.update(repr(target.name).encode())
        for path in (*target.paths(), *target.headers()):
            made.update(path.read_bytes())
    for package in (torch, torch_npu):
        made.update((package / "version.py").read_text("utf-8").partition("+")[0].encode())
    return made.hexdigest()


def found(torch: Path, torch_npu: Path) -> Path | None:
    """Their folder, where they were made from the sources and for the packages that are here."""
    try:
        fits = STAMP.read_text("utf-8") == stamp(torch, torch_npu)
    except OSError:
        return None
    return FOLDER / "lib" if fits else None
