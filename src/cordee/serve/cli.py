"""`cordee serve`: one command for a service, and those that steer it."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from cordee.core.commands import Commands
from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON
from cordee.serve.asking import ADMINS_KEY, KEY, URL, asked

FOLDER = click.Path(path_type=Path)
RESTART_S = 1000.0
LATER = {
    "check-args": "cordee.serve.deployment.cli:check_args",
    "move": "cordee.serve.move.cli:move",
}


@click.group(cls=Commands, later=LATER, usual="run")
def serve() -> None:
    """Serve a model with OpenAI's API; answers go on when a replica dies.

    \b
    cordee serve MODEL_DIR [OPTIONS]       on what this machine has
    cordee serve MODEL_DIR --chip Ascend910B3 --chips 4
    cordee serve --fleet fleet.toml        pools of engines, here and elsewhere
    """


@serve.command(name="run")
@click.argument("model", type=FOLDER, required=False)
@click.option("--fleet", type=click.Path(path_type=Path, dir_okay=False), help="Pools, in TOML.")
@click.option("--replicas", type=click.IntRange(1), help="How many engines.")
@click.option("--device", type=click.Choice(["cpu", "cuda", "ascend"]), help="Else the best here.")
@click.option("--chip", help="Virtual chips of this kind, as Ascend910B3.")
@click.option("--chips", type=click.IntRange(1), help="How many virtual chips.")
@click.option(
    "--chips-per-replica",
    type=click.IntRange(1),
    default=1,
    help="An engine shares its model among so many.",
)
@click.option(
    "--spare-chips", type=click.IntRange(0), default=0, help="So many of them wait for a failure."
)
@click.option("--weights", type=click.Choice(["float32", "bfloat16", "float16", "int8"]))
@click.option("--max-model-len", type=int, help="The longest context.")
@click.option("--name", default="", help="What clients call the model.")
@click.option("--host", help="Else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Else 8000; 0: any that is free.")
@click.option("--keys", type=click.Path(path_type=Path, dir_okay=False), help="API keys, in TOML.")
@click.option("--log", help="What happens, as lines of JSON: a file, or - for standard output.")
@click.option("--logs", type=FOLDER, help="Where replicas write; else kept only where one failed.")
@click.option("--threads", default=0, help="Of the CPU, for each replica.")
@click.option("--canary/--no-canary", default=None, help="Watch for wrong results in every step.")
def run_service(logs: Path | None, **options: object) -> None:
    """Serve a model folder, or what a fleet file describes."""
    from cordee.core.http.loop import run
    from cordee.serve.page.table import pages
    from cordee.serve.pool.logs import folder
    from cordee.serve.pool.service import Ask, serve_fleet

    ask = Ask(**options)  # type: ignore[arg-type]
    config = ask.config()
    command = ask.under_virtual_chips(config.pools, sys.argv)
    if command is not None:
        os.execv(sys.executable, command)
    say = _say_aside if config.gateway.log == "-" else _say
    with folder(logs, say) as place, suppress(asyncio.CancelledError):
        run(serve_fleet(config, place, say, pages()))


@serve.command()
@URL
@KEY
@AS_JSON
def status(url: str, key: str, as_json: bool) -> None:
    """Show pools, replicas and what happened last."""
    with asked(url, "/cordee/status", key) as reply:
        state: dict[str, Any] = json.load(reply)
    if as_json:
        print(json.dumps(state, indent=2))
        return
    from rich.console import Console

    from cordee.serve.pool.table import shown

    console = Console()
    for part in shown(state):
        console.print(part)


@serve.command()
@click.argument("pool")
@URL
@ADMINS_KEY
def restart(pool: str, url: str, key: str) -> None:
    """Start the replicas of POOL anew, one after another; no request is lost."""
    told: dict[str, Any] = {}
    path = f"/cordee/pools/{quote(pool, safe='')}/restart"
    with asked(url, path, key, body=b"", within_s=RESTART_S) as reply:
        for line in reply:
            if line.startswith(b"data: "):
                told = json.loads(line[6:])
                if "ready" in told:
                    _say(f"{told['ready']} is ready again")
    if "done" not in told:
        raise UsageError(told.get("error", f"{url}: the service ended meanwhile"))


@serve.command()
@click.argument("pool")
@click.argument("replicas", type=click.IntRange(1))
@URL
@ADMINS_KEY
def scale(pool: str, replicas: int, url: str, key: str) -> None:
    """Let POOL have so many REPLICAS; those that are too many finish what they have."""
    body = json.dumps({"replicas": replicas}).encode()
    path = f"/cordee/pools/{quote(pool, safe='')}/scale"
    with asked(url, path, key, body=body):
        _say(f"{pool} is to have {replicas}; cordee serve status shows them")


@serve.command()
@click.argument("model")
@click.option("--image", required=True, help="A container image with cordee[serve] in it.")
@click.option("--claim", required=True, help="The PersistentVolumeClaim that holds MODEL.")
@click.option("--pool", "name", default="engines", show_default=True)
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda", "ascend"]))
@click.option("--replicas", default=2, show_default=True, type=click.IntRange(1))
@click.option("--max-replicas", default=0, help="So many where the load asks for more.")
@click.option("--chips", default=1, show_default=True, type=click.IntRange(1), help="Of each.")
@click.option("--namespace", default="default", show_default=True)
def manifests(model: str, **given: object) -> None:
    """Print what Kubernetes needs to run engines of MODEL, a path in their containers.

    For `kubectl apply -f -`: engines, the gateway that finds them by label, a service.
    """
    from cordee.core.manifests import written
    from cordee.serve.cluster.manifests import Wanted, manifests_of

    print(written(manifests_of(Wanted(model=model, **given))), end="")  # type: ignore[arg-type]


def _say(text: str) -> None:
    print(text, flush=True)


def _say_aside(text: str) -> None:
    """Where standard output is for machines."""
    print(text, file=sys.stderr, flush=True)
