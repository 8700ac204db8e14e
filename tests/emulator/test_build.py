"""Compiling the runtime: what is asked of the machine, and what is said when it is missing."""

import subprocess
import sys

import pytest

from cordee.core.errors import CordeeError
from cordee.emulator import build


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CordeeError, match="CC=no-such-compiler"):
        build.libraries(kernel=False)


def test_without_any_compiler_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CordeeError, match="apt-get install"):
        build.libraries(kernel=False)


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(CordeeError, match="XDG_CACHE_HOME"):
        build.libraries(kernel=False)


@pytest.mark.slow
def test_processes_that_build_at_once_get_the_same_libraries(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = "from cordee.emulator import build; print(build.libraries(kernel=False))"
    builders = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    folders = {builder.communicate(timeout=240)[0].strip() for builder in builders}
    assert folders == {str(build.libraries(kernel=False))}
    assert len(list(tmp_path.glob("cordee/objects/*/lib*.so"))) == len(
        list((tmp_path / "cordee").glob("*/lib/*.so"))
    )
