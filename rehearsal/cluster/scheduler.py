"""Gives pending pods a node, in order of creation: capacity, node selector, taints, required and preferred affinity."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rehearsal.cluster.faults import Faults
from rehearsal.cluster.objects import Object, ended, labels_of, now
from rehearsal.cluster.quantities import cores_or_bytes
from rehearsal.cluster.settings import Node
from rehearsal.cluster.store import Store


def node_object(node: Node) -> Object:
    """The Node as the API shows it."""
    offers = {"cpu": node.cpu, "memory": node.memory, "pods": "110"}
    if node.gpus:
        offers[node.gpu_resource] = str(node.gpus)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name, **node.labels}},
        "spec": {"taints": [dict(taint) for taint in node.taints]},
        "status": {"capacity": offers, "allocatable": offers, "conditions": [{"type": "Ready", "status": "True"}]},
    }


class Scheduler:
    """Binds pods to nodes; one that fits nowhere stays pending with an event that says why."""

    def __init__(self, store: Store, faults: Faults, bound: Callable[[Object], None]) -> None:
        self._store, self._faults, self._bound = store, faults, bound
        self._held: dict[str, float] = {}

    def sync(self) -> None:
        """Schedule what can be."""
        for pod in self._store.every("Pod"):
            if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp") or ended(pod):
                continue
            if not self._is_held(pod):
                self._schedule(pod)

    def _is_held(self, pod: Object) -> bool:
        held = [fault.after for fault in self._faults.of_pod(pod, "slow_scheduling")]
        since = self._held.setdefault(pod["metadata"]["uid"], time.monotonic())
        return bool(held) and time.monotonic() - since < max(held)

    def _schedule(self, pod: Object) -> None:
        nodes = self._store.every("Node")
        fitting = [node for node in nodes if self._refusal(node, pod) is None]
        if fitting:
            best = max(fitting, key=lambda node: preference(node, pod))
            pod["spec"]["nodeName"] = best["metadata"]["name"]
            pod["status"]["conditions"] = [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()},
            ]
            self._store.touch(pod)
            self._bound(pod)
            return
        reasons = ", ".join(sorted({str(self._refusal(node, pod)) for node in nodes}))
        message = f"0/{len(nodes)} nodes are available: {reasons}."
        known = pod["status"].get("conditions", [])
        if not known or known[0].get("message") != message:
            pod["status"]["conditions"] = [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            ]
            self._store.touch(pod)
            self._store.event(pod, "Warning", "FailedScheduling", message)

    def _refusal(self, node: Object, pod: Object) -> str | None:
        spec = pod["spec"]
        if any(labels_of(node).get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
            return "node(s) didn't match Pod's node affinity/selector"
        if not _required_affinity(node, spec):
            return "node(s) didn't match Pod's node affinity/selector"
        untolerated = [taint for taint in node["spec"].get("taints") or [] if _repels(taint, spec)]
        if untolerated:
            return f"node(s) had untolerated taint {{{untolerated[0]['key']}: {untolerated[0].get('value', '')}}}"
        free = self._free(node)
        short = [name for name, wanted in requests_of(spec).items() if wanted > free.get(name, 0.0) + 1e-9]
        return f"Insufficient {short[0]}" if short else None

    def _free(self, node: Object) -> dict[str, float]:
        free = {name: cores_or_bytes(value) for name, value in node["status"]["allocatable"].items()}
        for pod in self._store.every("Pod"):
            if pod["spec"].get("nodeName") == node["metadata"]["name"] and not ended(pod):
                for name, wanted in requests_of(pod["spec"]).items():
                    free[name] = free.get(name, 0.0) - wanted
        return free


def requests_of(spec: Object) -> dict[str, float]:
    """What a pod asks for, by resource; a limit without a request is one."""
    total: dict[str, float] = {"pods": 1.0}
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name, value in wanted.items():
            total[name] = total.get(name, 0.0) + cores_or_bytes(value)
    return total


def preference(node: Object, pod: Object) -> int:
    """Sum of the weights of preferred node affinity that the node fulfils."""
    terms = _node_affinity(pod["spec"]).get("preferredDuringSchedulingIgnoredDuringExecution") or []
    return sum(term["weight"] for term in terms if _term_holds(node, term["preference"]))


def _required_affinity(node: Object, spec: Object) -> bool:
    required = _node_affinity(spec).get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term_holds(node, term) for term in required["nodeSelectorTerms"])


def _node_affinity(spec: Object) -> Mapping[str, Any]:
    return (spec.get("affinity") or {}).get("nodeAffinity") or {}


def _term_holds(node: Object, term: Object) -> bool:
    return all(_expression_holds(labels_of(node), expression) for expression in term.get("matchExpressions") or [])


def _expression_holds(labels: Mapping[str, str], expression: Object) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise ValueError(f"The stand-in does not know the operator {expression['operator']}")


def _repels(taint: Object, spec: Object) -> bool:
    if taint["effect"] == "PreferNoSchedule":
        return False
    return not any(_tolerates(toleration, taint) for toleration in spec.get("tolerations") or [])


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or bool(toleration.get("value", "") == taint.get("value", ""))
