"""Which nodes a pod goes to: selectors, affinities, taints and runtimes, as they are on Ascend."""

from typing import Any

from cordee.serve.deployment.surroundings import Surroundings
from cordee.serve.deployment.trees import at, put, records, without

REQUIRED = ("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ANY = ("In", "Exists")


def on_nodes(pod: dict[Any, Any], around: Surroundings) -> dict[Any, Any]:
    """A pod with selectors that nodes with Ascend fulfil."""
    selector = pod.get("nodeSelector")
    if isinstance(selector, dict):
        left = selected(selector, around)
        pod = {**pod, "nodeSelector": left} if left else _less(pod, "nodeSelector")
    if isinstance(pod.get("affinity"), dict):
        affinity = affine(pod["affinity"], around)
        pod = {**pod, "affinity": affinity} if affinity else _less(pod, "affinity")
    runtime = str(pod.get("runtimeClassName") or "")
    if runtime and around.judge("runtime", runtime, runtime, f"runtimeClassName {runtime}") is None:
        pod = _less(pod, "runtimeClassName")
    return pod


def _less(given: dict[Any, Any], key: str) -> dict[Any, Any]:
    return {name: value for name, value in given.items() if name != key}


def selected(selector: dict[Any, Any], around: Surroundings) -> dict[Any, Any]:
    """A node selector; labels of GPUs are left out, or those of chips stand for them."""
    out: dict[Any, Any] = {}
    for name, value in selector.items():
        after = around.judge("label", str(name), str(value), f"nodeSelector {name}: {value}")
        if after is not None:
            out[after[0]] = value if after == (str(name), str(value)) else after[1]
    return out


def affine(affinity: dict[Any, Any], around: Surroundings) -> dict[Any, Any]:
    """Affinities; those for nodes by labels that nodes with Ascend have."""
    given = affinity.get("nodeAffinity")
    if not isinstance(given, dict):
        return affinity
    terms = at(given, REQUIRED)
    if isinstance(terms, list):
        left = terms_after(terms, around)
        given = put(given, REQUIRED, left) if left else without(given, REQUIRED)
    wishes = records(given.get(PREFERRED))
    if wishes:
        kept = []
        for wish in wishes:
            term = terms_after([wish.get("preference")], around)
            kept += [{**wish, "preference": term[0]}] if term else []
        given = {**given, PREFERRED: kept} if kept else _less(given, PREFERRED)
    return {**affinity, "nodeAffinity": given} if given else _less(affinity, "nodeAffinity")


def terms_after(terms: list[Any], around: Surroundings) -> list[Any]:
    """Terms of a node affinity, without those in which nothing is left."""
    out = []
    for term in records(terms):
        asked = records(term.get("matchExpressions"))
        left = [new for one in asked if (new := _expression(one, around)) is not None]
        if left:
            out.append({**term, "matchExpressions": left})
        elif "matchFields" in term:
            out.append(_less(term, "matchExpressions"))
    return out


def _expression(one: dict[Any, Any], around: Surroundings) -> dict[Any, Any] | None:
    key, values = str(one.get("key")), one.get("values")
    told = ", ".join(map(str, values)) if isinstance(values, list) else ""
    after = around.judge("label", key, told, f"affinity {key} {told}".strip())
    if after is None or after == (key, told):
        return None if after is None else one
    if one.get("operator") not in ANY:
        return None  # which GPUs it must not be says nothing of chips
    return {"key": after[0], "operator": "In", "values": [after[1]]}


def tolerated(pod: dict[Any, Any], around: Surroundings) -> dict[Any, Any]:
    """A pod without tolerations for the taints of nodes with GPUs."""
    given = pod.get("tolerations")
    if not isinstance(given, list):
        return pod
    left = tolerations(given, around)
    return {**pod, "tolerations": left} if left else _less(pod, "tolerations")


def tolerations(given: list[Any], around: Surroundings) -> list[Any]:
    """Tolerations but those for the taints of nodes with GPUs."""
    out = []
    for item in given:
        key = str(item.get("key") or "") if isinstance(item, dict) else ""
        if not key or around.judge("toleration", key, "", f"toleration {key}") is not None:
            out.append(item)
    return out
