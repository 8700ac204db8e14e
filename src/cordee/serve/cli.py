"""`cordee serve`: one command for a service, and those that steer it."""

import asyncio
import importlib
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click

from cordee.core.errors import UsageError

FOLDER = click.Path(path_type=Path)
LATER = {"move": "cordee.serve.move.cli:move"}
SERVICE = "http://127.0.0.1:8000"


class ServeGroup(click.Group):
    """`cordee serve MODEL` serves; `cordee serve status` and the others steer what is served."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*self.commands, *LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LATER:
            module, attribute = LATER[cmd_name].split(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, *LATER, "-h", "--help"}
        if not args or args[0] not in known:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ServeGroup)
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
@click.option(
    "--chips", type=click.IntRange(1), help="How many virtual chips; one replica on each."
)
@click.option(
    "--spare-chips", type=click.IntRange(0), default=0, help="So many of them wait for a failure."
)
@click.option("--weights", type=click.Choice(["float32", "bfloat16", "float16", "int8"]))
@click.option("--max-model-len", type=int, help="The longest context.")
@click.option("--name", default="", help="What clients call the model.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option("--keys", type=click.Path(path_type=Path, dir_okay=False), help="API keys, in TOML.")
@click.option("--threads", default=0, help="Of the CPU, for each replica.")
@click.option("--canary/--no-canary", default=None, help="Watch for wrong results in every step.")
def run_service(model: Path | None, fleet: Path | None, **options: object) -> None:
    """Serve a model folder, or what a fleet file describes."""
    from cordee.serve.http.loop import run
    from cordee.serve.page.table import pages
    from cordee.serve.pool.service import Ask, serve_fleet

    if (model is None) == (fleet is None):
        raise UsageError("give either a model folder, or --fleet with a fleet file")
    ask = Ask(model=model, fleet=fleet, **options)  # type: ignore[arg-type]
    command = ask.under_virtual_chips(sys.argv)
    if command is not None:
        os.execv(sys.executable, command)
    with tempfile.TemporaryDirectory(prefix="cordee-serve-") as logs:
        try:
            run(serve_fleet(ask, Path(logs), _say, pages()))
        except asyncio.CancelledError:
            return


@serve.command()
@click.option("--url", default=SERVICE, show_default=True)
@click.option("--key", default="", help="An API key.")
@click.option("--json", "as_json", is_flag=True, help="For a machine to read.")
def status(url: str, key: str, as_json: bool) -> None:
    """Show pools, replicas and what happened last."""
    state = _ask(url, "/cordee/status", key)
    if as_json:
        print(json.dumps(state, indent=2))
        return
    from rich.console import Console

    from cordee.serve.pool.table import shown

    Console().print(*shown(state))


@serve.command()
@click.argument("pool")
@click.option("--url", default=SERVICE, show_default=True)
@click.option("--key", default="", help="An admin's API key.")
def restart(pool: str, url: str, key: str) -> None:
    """Start the replicas of POOL anew, one after another; no request is lost."""
    state = _ask(url, "/cordee/status", key)
    replicas = [r for p in state["pools"] if p["name"] == pool for r in p["replicas"]]
    if not replicas:
        names = ", ".join(p["name"] for p in state["pools"])
        raise UsageError(f"there is no pool {pool} at {url}; it has {names}")
    for replica in replicas:
        name, before = replica["name"], replica["restarts"]
        _ask(url, f"/cordee/replicas/{name}/restart", key, post=True)
        while True:
            now = _ask(url, "/cordee/status", key)
            found = [r for p in now["pools"] for r in p["replicas"] if r["name"] == name]
            if found and found[0]["restarts"] > before and found[0]["state"] == "ready":
                break
            time.sleep(0.2)
        _say(f"{name} is ready again")


@serve.command()
@click.argument("model")
@click.option("--image", required=True, help="A container image with cordee[serve] in it.")
@click.option("--claim", required=True, help="The PersistentVolumeClaim that holds MODEL.")
@click.option("--pool", "name", default="engines", show_default=True)
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda", "ascend"]))
@click.option("--replicas", default=2, show_default=True, type=click.IntRange(1))
@click.option("--chips", default=1, show_default=True, type=click.IntRange(1), help="Of each.")
@click.option("--namespace", default="default", show_default=True)
def manifests(model: str, **given: object) -> None:
    """Print what Kubernetes needs to run engines of MODEL, a path in their containers.

    For `kubectl apply -f -`: engines, the gateway that finds them by label, a service.
    """
    from cordee.serve.cluster.manifests import Wanted, written

    print(written(Wanted(model=model, **given)), end="")  # type: ignore[arg-type]


def _say(text: str) -> None:
    print(text, flush=True)


def _ask(url: str, path: str, key: str, *, post: bool = False) -> dict[str, Any]:
    request = urllib.request.Request(url.rstrip("/") + path, data=b"" if post else None)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            state: dict[str, Any] = json.loads(reply.read())
            return state
    except urllib.error.HTTPError as error:
        raise UsageError(f"{url} answered {error.code}: {error.read().decode()[:300]}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{url}: no service of cordee answers there: {error}") from error
