"""The command `cordee train manifests`."""

import secrets
from pathlib import Path

import click

from cordee.core.manifests import written
from cordee.train.kubernetes.manifests import DEVICES, Wanted, manifests_of


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--image", required=True, help="A container image with cordee[train] in it.")
@click.option("--name", default="train", show_default=True, help="Of the job.")
@click.option("--hosts", default=2, show_default=True, type=click.IntRange(1), help="Pods.")
@click.option("--min-hosts", "least_hosts", default=0, help="So many are enough to begin; 0: all.")
@click.option(
    "--per-host",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="Workers in each pod, and chips where the device has some.",
)
@click.option("--spares", default=0, help="So many of all those workers wait, ready to come in.")
@click.option("--device", default="ascend", show_default=True, type=click.Choice(DEVICES))
@click.option("--claim", default="", help="A PersistentVolumeClaim that all pods see.")
@click.option("--at", default="/job", show_default=True, help="Where they see it.")
@click.option("--memory", default="", help="The most that is kept in a pod's memory, as 64Gi.")
@click.option("--namespace", default="default", show_default=True)
@click.option(
    "--secret",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the secret that hosts have in common; else a new one.",
)
@click.argument("words", nargs=-1, required=True, metavar="[OPTIONS --] SCRIPT...")
def manifests(secret: Path | None, words: tuple[str, ...], **given: object) -> None:
    """Print what Kubernetes needs to train on several hosts.

    For `kubectl apply -f -`: a Job with a pod on each host, their names and their secret. What stands after `--` is
    as for `cordee train`: its options, another `--`, the script.
    """
    known = secret.read_text("utf-8").strip() if secret is not None else secrets.token_hex(16)
    wanted = Wanted(words=words, secret=known, **given)  # type: ignore[arg-type]
    click.echo(written(manifests_of(wanted)), nl=False)
