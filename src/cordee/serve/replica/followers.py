"""The other chips of a tensor-parallel replica: processes that rank 0 starts, watches and ends."""

import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock, Thread

import click

from cordee.core.errors import UsageError
from cordee.core.ports import free_port
from cordee.serve.engine.build import Engine, Options, follow
from cordee.serve.engine.distributed import RANK, STORE
from cordee.serve.replica.command import FAILED, PROGRAM


def follow_and_end(options: Options) -> None:
    """Be one of them where this process is one; it does not return then."""
    if os.environ.get(RANK, "0") == "0":
        return
    code = 0
    try:
        follow(options)
    except UsageError:  # rank 0 has made the same mistake, and tells it
        code = UsageError.exit_code
    except Exception:  # noqa: BLE001 - whatever it is, the others must hear of the end
        traceback.print_exc()
        code = FAILED
    os._exit(code)  # at once: a driver's own end may wait for a chip that is lost


@dataclass(slots=True)
class Followers:
    """Those of this process, which is rank 0."""

    processes: Sequence["subprocess.Popen[bytes]"]
    _engine: Engine | None
    _lock: Lock

    @classmethod
    def start(cls, count: int, arguments: Sequence[str]) -> "Followers":
        """Start `count` - 1 processes like this one. Where one ends before all are ready, this one does so, too."""
        os.environ[STORE], os.environ[RANK] = f"127.0.0.1:{free_port()}", "0"
        command = (sys.executable, *PROGRAM, *arguments)
        processes = [
            subprocess.Popen(command, env=os.environ | {RANK: str(rank)}, stdout=subprocess.DEVNULL)
            for rank in range(1, count)
        ]
        made = cls(processes, None, Lock())
        for process in made.processes:
            Thread(target=made._watch, args=(process,), daemon=True).start()
        return made

    def led_by(self, engine: Engine) -> None:
        """From now on the end of one of them is that of `engine`, which tells its clients."""
        with self._lock:
            self._engine = engine

    def end(self) -> None:
        for process in self.processes:
            process.kill()

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        code = process.wait()
        with self._lock:
            if self._engine is not None:
                self._engine.worker.fail("a chip of the tensor-parallel group is lost")
            elif code != UsageError.exit_code:
                click.echo(f"a process of the tensor-parallel group ended with {code}", err=True)
                self.end()
                os._exit(FAILED)  # it would wait for the other one in vain
