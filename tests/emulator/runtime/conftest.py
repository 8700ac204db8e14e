"""The compiled runtime, in this process and in children that use it as programs do."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from calls import Acl

from cordee.emulator import build

Child = subprocess.Popen[str]


@pytest.fixture(scope="session", autouse=True)
def chip() -> None:
    """These tests speak to a runtime of their own; torch_npu must not have started it."""


@pytest.fixture(scope="session")
def libraries() -> str:
    return str(build.libraries(kernel=False))


@pytest.fixture
def acl(libraries: str) -> Acl:
    """The runtime in this process, on device 0 of a machine of its own."""
    acl = Acl(libraries)
    acl.aclrtSetDevice(0)
    return acl


@contextmanager
def _children(libraries: str) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(program: str, **variables: str) -> Child:
        hidden = (
            *("CORDEE_MACHINE", "CORDEE_CHIP", "CORDEE_CHIPS", "CORDEE_NODE", "CORDEE_TRACE"),
            "ASCEND_RT_VISIBLE_DEVICES",
        )
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {
            "PYTHONPATH": str(Path(__file__).parent),
            "CORDEE_TEST_LIBRARIES": libraries,
            "LD_LIBRARY_PATH": libraries,
            "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        child = subprocess.Popen(
            [sys.executable, "-c", "from calls import *\n" + textwrap.dedent(program)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def _to_its_end(start: Callable[..., Child], program: str, variables: dict[str, str]) -> str:
    child = start(program, **variables)
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    return output.strip()


@pytest.fixture
def start(libraries: str) -> Iterator[Callable[..., Child]]:
    """Start a Python program that has `calls` at hand; keywords become its environment."""
    with _children(libraries) as start:
        yield start


@pytest.fixture
def run(start: Callable[..., Child]) -> Callable[..., str]:
    """Run such a program to its end and give what it printed; it must not fail."""
    return lambda program, **variables: _to_its_end(start, program, variables)


@pytest.fixture(scope="module")
def run_once(libraries: str) -> Iterator[Callable[..., str]]:
    """`run` for a program whose report several tests read."""
    with _children(libraries) as start:
        yield lambda program, **variables: _to_its_end(start, program, variables)
