"""Faults on demand: what goes wrong, for which pods or calls, when and how often."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rehearsal.cluster.objects import Object, labels_of
from rehearsal.cluster.records import attempt_of

PodFaultKind = Literal["evict", "out_of_memory", "kill", "drain", "lose_node", "image_pull", "slow_scheduling"]


@dataclass
class Selector:
    """Which pods: by Dagster's labels; empty matches all. `attempts` counts from 1 per run and step (or run)."""

    op: str = ""
    run_id: str = ""
    job: str = ""
    component: Literal["", "run_worker", "step_worker"] = ""
    attempts: Sequence[int] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def matches(self, thing: Object) -> bool:
        """Whether an object (a Job, a pod) is meant."""
        has = labels_of(thing)
        wanted = {
            "dagster/op": self.op,
            "dagster/run-id": self.run_id,
            "dagster/job": self.job,
            "app.kubernetes.io/component": self.component,
            **self.labels,
        }
        if any(value and has.get(key) != value for key, value in wanted.items()):
            return False
        return not self.attempts or attempt_of(thing) in self.attempts


@dataclass
class PodFault:
    """Something that happens to pods.

    Attributes:
        kind: evict (node pressure: phase Failed, the pod stays), drain (the pod is deleted with grace), kill (its
            process gets SIGKILL), out_of_memory, lose_node (the node goes with all its pods), image_pull (its image
            cannot be pulled), slow_scheduling (it stays pending).
        where: Which pods.
        after: Seconds after the container's start, for faults of running pods; how long, for image_pull (0: for ever)
            and slow_scheduling.
        when_logged: A text in the pod's log that starts the clock of `after` instead.
        count: Pods that it happens to; None: every one.
    """

    kind: PodFaultKind
    where: Selector = field(default_factory=Selector)
    after: float = 0.0
    when_logged: str = ""
    count: int | None = 1
    pods: list[str] = field(default_factory=list)
    """Names of pods that it has happened to."""

    def takes(self, pod: Object) -> bool:
        """Whether it happens to this pod; counts the pod once."""
        name = pod["metadata"]["name"]
        if name in self.pods:
            return True
        if (self.count is not None and len(self.pods) >= self.count) or not self.where.matches(pod):
            return False
        self.pods.append(name)
        return True


@dataclass
class ApiFault:
    """An answer other than the right one.

    Attributes:
        status: An HTTP status, "reset" (the connection is cut) or "hang" (no answer for `seconds`).
        verbs: Of create, get, list, watch, update, patch, delete, deletecollection; empty: all.
        resource: Plural with its subresource as in `jobs`, `jobs/status`, `pods/log`; empty: all.
        where: By labels of the object that is created or named in the call; lists match an empty selector only.
        count: Calls that fail, None: all until `until`.
        seconds: How long after the first failed call it stays; 0: not limited by time.
        retry_after: Seconds for the header of a 429 or 503.
        after_effect: The call is done before the error is given, as where an answer is lost.
    """

    status: int | Literal["reset", "hang"]
    verbs: Sequence[str] = ()
    resource: str = ""
    where: Selector = field(default_factory=Selector)
    count: int | None = 1
    seconds: float = 0.0
    retry_after: int | None = None
    after_effect: bool = False
    calls: list[str] = field(default_factory=list)
    """What has failed, as `verb resource name`."""
    began: float = 0.0

    def takes(self, verb: str, resource: str, name: str, thing: Object | None) -> bool:
        """Whether this call fails; counts it."""
        if (self.verbs and verb not in self.verbs) or (self.resource and resource != self.resource):
            return False
        if self.where != Selector() and (thing is None or not self.where.matches(thing)):
            return False
        if self.count is not None and len(self.calls) >= self.count:
            return False
        if self.seconds and self.began and time.monotonic() - self.began > self.seconds:
            return False
        self.began = self.began or time.monotonic()
        self.calls.append(f"{verb} {resource} {name}")
        return True


class Faults:
    """The faults that are set; may be added to and cleared at any time from any thread."""

    def __init__(self) -> None:
        self._pods: list[PodFault] = []
        self._api: list[ApiFault] = []

    def add(self, fault: PodFault | ApiFault) -> None:
        """Set a fault."""
        if isinstance(fault, PodFault):
            self._pods = [*self._pods, fault]
        else:
            self._api = [*self._api, fault]

    def clear(self) -> None:
        """Take all faults back; pods that wait for an image get it."""
        self._pods, self._api = [], []

    def of_pod(self, pod: Object, *kinds: PodFaultKind) -> list[PodFault]:
        """Faults of these kinds that happen to this pod."""
        return [fault for fault in self._pods if fault.kind in kinds and fault.takes(pod)]

    def of_call(self, verb: str, resource: str, name: str, thing: Object | None) -> ApiFault | None:
        """The fault of a call, if any."""
        return next((fault for fault in self._api if fault.takes(verb, resource, name, thing)), None)
