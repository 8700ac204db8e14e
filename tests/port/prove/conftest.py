"""Proofs run on the emulator, which is compiled once for all of them."""

import pytest

from cordee.emulator.build import libraries


@pytest.fixture(scope="session")
def compiled():
    return libraries()


@pytest.fixture(autouse=True)
def on_the_compiled_emulator(compiled, monkeypatch):
    monkeypatch.setenv("CORDEE_LIBRARIES", str(compiled))
