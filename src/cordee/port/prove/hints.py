"""What to do about a failure that has to do with the environment, and not with the port."""

import re
from collections.abc import Iterator

NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
NO_COMMAND = re.compile(
    r"^/bin/sh: (?:\d+|line \d+): ([^:\s]+): (?:command )?not found", re.MULTILINE
)
OF_CHIPS = "DistributedDataParallel device_ids and output_device arguments only work with"
NO_OPERATORS = "operator torchvision::nms does not exist"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"


def hints(output: str) -> Iterator[str]:
    """Ways out of what a program that failed said last."""
    modules = NO_MODULE.findall(output)
    if modules:
        yield (
            f"hint: `python` is here the one that cordee runs in: install what brings "
            f"`{modules[-1].partition('.')[0]}` there"
        )
    commands = NO_COMMAND.findall(output)
    if commands:
        yield f"hint: `{commands[-1]}` is looked for beside the python that cordee runs in, and on PATH"
    if OF_CHIPS in output:
        yield (
            "hint: `device_ids` are of chips: where the program gives DistributedDataParallel None "
            "on a CPU, what both compute can be compared"
        )
    if NO_OPERATORS in output:
        yield (
            "hint: this torchvision is built for CUDA; torch for the CPU, which torch_npu goes "
            f"with, needs its own: pip install torchvision --index-url {CPU_BUILDS}"
        )
