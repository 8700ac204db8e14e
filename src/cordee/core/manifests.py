"""Manifests for Kubernetes: what all of them have, and the text of several."""

from collections.abc import Iterable

import yaml

from cordee.core.errors import UsageError

Manifest = dict[str, object]
NAME_MOST = 63


def made(version: str, kind: str, name: str, namespace: str, **parts: object) -> Manifest:
    """One of them."""
    labels = {"app.kubernetes.io/part-of": "cordee"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


def written(manifests: Iterable[Manifest]) -> str:
    """All of them as one YAML text, for `kubectl apply -f -`."""
    text: str = yaml.safe_dump_all(manifests, sort_keys=False)
    return text


def check_name(what: str, name: str) -> None:
    """Raises `UsageError` for a name that Kubernetes refuses."""
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not (0 < len(name) <= NAME_MOST and set(name) <= letters and name[0] != "-" != name[-1]):
        raise UsageError(
            f"{what} {name!r}: Kubernetes takes small letters, digits and '-', at most {NAME_MOST}"
        )
