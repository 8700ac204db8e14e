"""How a replica of our engine is called, on this machine and on others, and what its end says."""

from collections.abc import Sequence

PROGRAM = ("-m", "cordee.serve.replica")
FAILED = 70
"""Its exit code where its chip failed (EX_SOFTWARE): start it again, elsewhere."""
GROUP = "--tensor-parallel"


def replica_arguments(
    model: str, device: str, chips: int, more: Sequence[str], *, name: str = ""
) -> tuple[str, ...]:
    """What the program is told. One of several `chips` shares its model among them unless `more` says otherwise."""
    called = ("--name", name) if name else ()
    told = any(argument.split("=")[0] == GROUP for argument in more)
    shared = (GROUP, str(chips)) if device != "cpu" and chips > 1 and not told else ()
    return ("--model", model, *called, "--device", device, *shared, *more)
