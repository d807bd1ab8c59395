"""Decisions about classes as they were taken: one object each below `class_decisions/` in the store, never changed.

One object a decision, so that two people who decide at a time, and a run that reads meanwhile, need no lock: each is
written whole or not at all. What a decision means belongs in `mlops_assets/labels/class_decisions.py`.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dagster as dg

from resources.atomic_write import write_atomically
from resources.locations import location

if TYPE_CHECKING:
    from upath import UPath

_SUFFIX = ".json"
_READERS = 8


class ClassDecisionRecordError(ValueError):
    """A record cannot be read; the message names its file."""


class ClassDecisionRecords(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The records of one store, a local folder or an address such as s3://bucket/prefix."""

    root: str

    def ids(self) -> list[str]:
        """Ids of all records, sorted, from one listing."""
        folder = self._folder()
        names = (path.rsplit("/", 1)[-1] for path in folder.fs.find(folder.path))
        return sorted(n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX) and not n.startswith("."))

    def all(self) -> dict[str, dict[str, Any]]:
        """Every record by its id, sorted.

        Raises:
            ClassDecisionRecordError: One is no JSON object.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            ids = self.ids()
            return dict(zip(ids, pool.map(self._read, ids), strict=True))

    def add(self, record_id: str, content: Mapping[str, Any]) -> None:
        """Write a record; one that is there stays as it is.

        Raises:
            OSError: The store cannot be written.
        """
        path = self._path(record_id)
        if not path.exists():
            write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False).encode())

    def _read(self, record_id: str) -> dict[str, Any]:
        path = self._path(record_id)
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise ClassDecisionRecordError(f"{path} is no JSON ({error}): restore it from a backup") from error
        if not isinstance(content, dict):
            raise ClassDecisionRecordError(f"{path} is no JSON object: restore it from a backup")
        return content

    def _folder(self) -> "UPath":
        return location(self.root) / "class_decisions"

    def _path(self, record_id: str) -> "UPath":
        return self._folder() / f"{record_id}{_SUFFIX}"
