"""A script as a worker runs it: `python -m cordee.train.guest.script SCRIPT ARGUMENTS`, or in a process that was forked."""

import os
import runpy
import sys

from cordee.train.guest.ddp import adopted


def run(script: str) -> None:
    """A script, as Python runs it; a plain DDP script as one of the job."""
    guest = adopted(script)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if guest is None or end.code:
            raise
    if guest is not None:
        guest.end()


def main() -> None:
    """Run the script of the command line."""
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    run(sys.argv[0])


if __name__ == "__main__":
    main()
