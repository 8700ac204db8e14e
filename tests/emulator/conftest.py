"""The virtual chip for tests that run on it inside the test process."""

import os
from types import ModuleType

import pytest

# A launch is a call here; the adapter's launch queue would only cost a thread switch per copy.
os.environ.setdefault("TASK_QUEUE_ENABLE", "0")


# For every test here: autograd counts the devices at a process's first backward, once and for all.
@pytest.fixture(scope="session", autouse=True)
def chip() -> ModuleType:
    """The kernels of the virtual chip that this process runs on from now on."""
    from cordee.emulator import session

    return session.start()
