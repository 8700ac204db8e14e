"""What holds for every test of this folder, and what several of them need."""

import sys
from importlib.resources import files

import pytest

SHIMS = files("cordee.port") / "shims"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def kernels(monkeypatch):
    """The module as a port's repository imports it, without a GPU's compiler."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SHIMS))
    import ascend_kernels

    monkeypatch.setattr(ascend_kernels, "compiles", lambda: False)
    monkeypatch.setattr(ascend_kernels, "served", lambda: False)
    yield ascend_kernels
    for name in set(sys.modules) - before:
        if isinstance(sys.modules[name], ascend_kernels.StandIn) or name.startswith("ascend_"):
            del sys.modules[name]
