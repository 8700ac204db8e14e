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
def shims(monkeypatch):
    """The modules that a port copies, found beside each other."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SHIMS))
    yield
    for name in set(sys.modules) - before:
        if name.startswith("ascend_"):
            del sys.modules[name]


@pytest.fixture
def kernels(shims, monkeypatch):
    """The module as a port's repository imports it, without a GPU's compiler."""
    before = set(sys.modules)
    import ascend_kernels

    monkeypatch.setattr(ascend_kernels, "compiles", lambda: False)
    monkeypatch.setattr(ascend_kernels, "served", lambda: False)
    yield ascend_kernels
    for name in set(sys.modules) - before:
        if isinstance(sys.modules[name], ascend_kernels.StandIn):
            del sys.modules[name]
