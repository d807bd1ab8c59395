"""Deletion: what an object's going takes with it, by owner references and propagation policy."""

from collections.abc import Callable

from rehearsal.cluster.objects import Object, now, owner_uids
from rehearsal.cluster.store import Store

GRACE_SECONDS = 30


class Garbage:
    """Deletes objects as the API does, and collects those whose owners are gone.

    Args:
        store: The objects.
        stop: Told of a pod that must end, with its grace in seconds; returns whether something of it still runs.
        before_removal: Told of a pod that is about to vanish.
    """

    def __init__(
        self, store: Store, stop: Callable[[Object, float], bool], before_removal: Callable[[Object], None]
    ) -> None:
        self._store, self._stop, self._before_removal = store, stop, before_removal

    def delete(self, thing: Object, policy: str | None = None, grace: int | None = None) -> None:
        """Delete one object; `policy` as in `propagationPolicy`, the default of Jobs being Orphan as in batch/v1."""
        if thing["kind"] == "Pod":
            self.delete_pod(thing, grace)
            return
        orphan = policy == "Orphan" or (policy is None and thing["kind"] == "Job")
        if orphan:
            self._orphan(thing["metadata"]["uid"])
        self._store.remove(thing)
        self.sync()

    def delete_pod(self, pod: Object, grace: int | None = None) -> None:
        """Give a pod its grace to end; it goes when its process has."""
        if grace is None:
            grace = pod["spec"].get("terminationGracePeriodSeconds", GRACE_SECONDS)
        pod["metadata"].setdefault("deletionTimestamp", now())
        pod["metadata"]["deletionGracePeriodSeconds"] = grace
        self._store.touch(pod)
        if not self._stop(pod, float(grace or 0)) or grace == 0:
            self.remove_pod(pod)

    def remove_pod(self, pod: Object) -> None:
        """Take a pod out, with what it owns."""
        self._before_removal(pod)
        self._store.remove(pod)
        self.sync()

    def sync(self) -> None:
        """Delete what has owners of which none is left."""
        for thing in self._store.all():
            owners = owner_uids(thing)
            lost = owners and not any(self._store.exists(uid) for uid in owners)
            if lost and not thing["metadata"].get("deletionTimestamp") and self._store.exists(thing["metadata"]["uid"]):
                self.delete(thing, policy="Background")

    def _orphan(self, uid: str) -> None:
        for thing in self._store.all():
            if uid in owner_uids(thing):
                left = [owner for owner in thing["metadata"]["ownerReferences"] if owner["uid"] != uid]
                thing["metadata"]["ownerReferences"] = left
                self._store.touch(thing)
