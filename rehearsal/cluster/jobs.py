"""The Job controller: makes pods of Jobs, counts how they end, keeps deadlines, and says when a Job is done."""

import copy
import time
from collections.abc import Callable

from rehearsal.cluster.objects import Object, ended, finished, generated, now, owner_uids
from rehearsal.cluster.store import Store


def new_job(job: Object) -> Object:
    """Defaults that the API server fills in."""
    spec = job["spec"]
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completions", 1)
    spec.setdefault("parallelism", 1)
    job["status"] = {}
    return job


class JobController:
    """One pod at a time a Job, as Dagster uses them; `made` is told of every new pod with its Job."""

    def __init__(
        self, store: Store, delete_pod: Callable[[Object, int | None], None], made: Callable[[Object, Object], None]
    ) -> None:
        self._store, self._delete_pod, self._made = store, delete_pod, made
        self._started: dict[str, float] = {}
        self._finished: dict[str, float] = {}
        self._counted: set[str] = set()

    def sync(self) -> None:
        """Bring every Job one step further."""
        for job in self._store.every("Job"):
            if finished(job):
                self._expire(job)
            else:
                self._advance(job)

    def _advance(self, job: Object) -> None:
        uid = job["metadata"]["uid"]
        if uid not in self._started:
            self._started[uid] = time.monotonic()
            job["status"] = {"startTime": now()}
            self._store.touch(job)
        pods = [pod for pod in self._store.every("Pod") if uid in owner_uids(pod)]
        active = [pod for pod in pods if not ended(pod) and not pod["metadata"].get("deletionTimestamp")]
        self._count(job, pods)
        status, spec = job["status"], job["spec"]
        deadline = spec.get("activeDeadlineSeconds")
        if status.get("succeeded", 0) >= spec["completions"]:
            self._finish(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif status.get("failed", 0) > spec["backoffLimit"]:
            self._finish(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif deadline is not None and time.monotonic() - self._started[uid] > deadline:
            self._exceed(job, active)
        elif not active and not any(not ended(pod) for pod in pods):
            self._make_pod(job)

    def _count(self, job: Object, pods: list[Object]) -> None:
        """Count pods that have ended, each once; one deleted before its end has failed."""
        before = dict(job["status"])
        for pod in pods:
            gone = bool(pod["metadata"].get("deletionTimestamp"))
            if pod["metadata"]["uid"] not in self._counted and (ended(pod) or gone):
                self.count(job, pod)
        alive = [pod for pod in pods if not ended(pod) and not pod["metadata"].get("deletionTimestamp")]
        status = job["status"]
        status["active"] = len(alive)
        status["ready"] = sum(pod["status"]["phase"] == "Running" for pod in alive)
        if not status["active"]:
            del status["active"]
        if status != before:
            self._store.touch(job)

    def count(self, job: Object, pod: Object) -> None:
        """Count one pod, that has ended or is being deleted."""
        self._counted.add(pod["metadata"]["uid"])
        outcome = "succeeded" if pod["status"]["phase"] == "Succeeded" else "failed"
        job["status"][outcome] = job["status"].get(outcome, 0) + 1

    def before_removal(self, pod: Object) -> None:
        """Count a pod that is about to vanish from the store."""
        for job in self._store.every("Job"):
            owned = job["metadata"]["uid"] in owner_uids(pod)
            if owned and not finished(job) and pod["metadata"]["uid"] not in self._counted:
                self.count(job, pod)
                self._store.touch(job)

    def _exceed(self, job: Object, active: list[Object]) -> None:
        for pod in active:
            self.count(job, pod)
            self._delete_pod(pod, None)
        job["status"].setdefault("failed", len(active))
        self._finish(job, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")

    def _finish(self, job: Object, kind: str, reason: str, message: str) -> None:
        status = job["status"]
        status.pop("active", None)
        status["ready"] = 0
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        status.setdefault("conditions", []).append(condition | {"lastTransitionTime": now(), "lastProbeTime": now()})
        if kind == "Complete":
            status["completionTime"] = now()
        self._finished[job["metadata"]["uid"]] = time.monotonic()
        self._store.touch(job)
        normal = kind == "Complete"
        self._store.event(job, "Normal" if normal else "Warning", "Completed" if normal else reason, message)

    def _expire(self, job: Object) -> None:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is not None and time.monotonic() - self._finished[job["metadata"]["uid"]] > seconds:
            self._store.remove(job)  # its pods follow, as all that has lost its owner

    def _make_pod(self, job: Object) -> None:
        pod = pod_of(job)
        self._store.create(pod)
        pod = self._store.get("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        self._made(pod, job)
        job["status"]["active"] = 1
        self._store.touch(job)
        self._store.event(job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")


def pod_of(job: Object) -> Object:
    """The next pod of a Job, by its template."""
    template = copy.deepcopy(job["spec"]["template"])
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    metadata = template.get("metadata") or {}
    marks = {"job-name": name, "controller-uid": uid}
    marks |= {f"batch.kubernetes.io/{key}": value for key, value in marks.items()}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **{key: metadata[key] for key in ("annotations",) if metadata.get(key)},
            "name": generated(name),
            "namespace": job["metadata"]["namespace"],
            "labels": {**(metadata.get("labels") or {}), **marks},
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }
