"""What holds for every test: `import torch` loads no adapter; programs on the chip are started.

Tests that mostly wait, for jobs that are struck and go on, are spread among those that compute, so that of two
workers one has the cores while the other waits.
"""

import os
from itertools import groupby

import pytest

# The adapter needs CANN or `cordee run`. A test that wants it starts a process for it.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

WAITING = ("tests/train/", "tests/serve/", "tests/e2e/")
UNTIL = 0.85
"""By what part of all files those that wait have had their turn: in the end nobody should."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files stay whole and in their order; those that wait come one after so and so many others."""
    files = [list(own) for _, own in groupby(items, key=lambda item: item.path)]
    waiting = [own for own in files if own[0].nodeid.startswith(WAITING)]
    others = [own for own in files if not own[0].nodeid.startswith(WAITING)]
    placed = [
        *((UNTIL * at / len(waiting), own) for at, own in enumerate(waiting)),
        *((at / len(others), own) for at, own in enumerate(others)),
    ]
    items[:] = [item for _, own in sorted(placed, key=lambda one: one[0]) for item in own]
