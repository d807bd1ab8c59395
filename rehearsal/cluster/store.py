"""The objects of the cluster, in memory, with versions, watches and deletion; touched by one thread alone."""

import asyncio
import copy
import uuid
from collections.abc import Callable, Iterator

from rehearsal.cluster.label_selectors import matches_fields, matches_labels
from rehearsal.cluster.objects import BY_KIND, ApiError, Object, generated, key_of, not_found, now

Listener = Callable[[str, Object], None]


class Store:
    """Objects by kind, namespace and name; what it gives is the stored object itself, copy before changing it alone."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._uids: set[str] = set()
        self._version = 0
        self._listeners: list[Listener] = []

    @property
    def version(self) -> str:
        """The version of the whole, as lists carry it."""
        return str(self._version)

    def create(self, thing: Object) -> Object:
        """Store a new object with uid, version and time of creation.

        Raises:
            ApiError: 409, where the name is taken.
        """
        thing = copy.deepcopy(thing)
        metadata = thing["metadata"]
        if "name" not in metadata:
            metadata["name"] = generated(metadata.get("generateName", "").removesuffix("-"))
        resource = BY_KIND[thing["kind"]]
        if key_of(thing) in self._objects:
            name = metadata["name"]
            qualified = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
            details = {"name": name, "group": resource.group, "kind": resource.plural}
            raise ApiError(409, "AlreadyExists", f'{qualified} "{name}" already exists', details)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        self._objects[key_of(thing)] = thing
        self._uids.add(metadata["uid"])
        return self.touch(thing, "ADDED")

    def touch(self, thing: Object, event: str = "MODIFIED") -> Object:
        """Give a changed object the next version and tell those who watch."""
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)
        for listener in list(self._listeners):
            listener(event, thing)
        return thing

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """The object.

        Raises:
            ApiError: 404.
        """
        found = self.find(kind, namespace, name)
        if found is None:
            raise not_found(BY_KIND[kind], name)
        return found

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        return self._objects.get((kind, namespace, name))

    def every(self, kind: str) -> list[Object]:
        """All objects of a kind in order of creation."""
        return [thing for (of_kind, _, _), thing in list(self._objects.items()) if of_kind == kind]

    def all(self) -> Iterator[Object]:
        """All objects."""
        yield from list(self._objects.values())

    def select(self, kind: str, namespace: str, labels: str = "", fields: str = "") -> list[Object]:
        """Objects of a kind, in one namespace or all (empty), by selectors."""
        return [
            thing
            for thing in self.every(kind)
            if (not namespace or thing["metadata"].get("namespace", "") == namespace)
            and matches_labels(thing, labels)
            and matches_fields(thing, fields)
        ]

    def replace(self, old: Object, new: Object) -> Object:
        """Put a new content in the old one's place.

        Raises:
            ApiError: 409, where the new one was made from an older version.
        """
        version = new["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            message = f'Operation cannot be fulfilled on "{old["metadata"]["name"]}": the object has been modified'
            raise ApiError(409, "Conflict", message)
        kept = {key: old["metadata"][key] for key in ("uid", "creationTimestamp")}
        new = copy.deepcopy(new)
        new["metadata"] |= kept
        old.clear()
        old.update(new)
        return self.touch(old)

    def exists(self, uid: str) -> bool:
        """Whether an object with this uid is there."""
        return uid in self._uids

    def remove(self, thing: Object) -> None:
        """Take an object out for good; a second time does nothing."""
        if self._objects.get(key_of(thing)) is thing:
            del self._objects[key_of(thing)]
            self._uids.discard(thing["metadata"]["uid"])
            self.touch(thing, "DELETED")

    def watch(self) -> tuple[asyncio.Queue[tuple[str, Object]], Callable[[], None]]:
        """A queue of changes from now on, and what ends it."""
        queue: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()

        def listener(event: str, thing: Object) -> None:
            queue.put_nowait((event, copy.deepcopy(thing)))

        self._listeners.append(listener)
        return queue, lambda: self._listeners.remove(listener)

    def event(self, about: Object, kind: str, reason: str, message: str) -> None:
        """Record an event about an object; `kind` is Normal or Warning. Equal ones are counted."""
        namespace, name = about["metadata"].get("namespace", ""), about["metadata"]["name"]
        for known in self.select("Event", namespace, fields=f"involvedObject.name={name},reason={reason}"):
            if known["message"] == message:
                known["count"] += 1
                known["lastTimestamp"] = now()
                self.touch(known)
                return
        self.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": generated(name), "namespace": namespace},
                "involvedObject": {"kind": about["kind"], "namespace": namespace, "name": name}
                | {"uid": about["metadata"]["uid"], "apiVersion": about["apiVersion"]},
                "type": kind,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now(),
                "lastTimestamp": now(),
                "source": {"component": "stand-in-cluster"},
            }
        )
