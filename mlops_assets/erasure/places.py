"""Where a photo may be, and the request to erase it; what is done there is for the other modules of this folder."""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.labels.drop import DropPath
from mlops_assets.use_case import UseCase

if TYPE_CHECKING:
    from resources.catalog_database import CatalogDatabase
    from resources.dataset_versions import DatasetVersions
    from resources.model_registry import ModelRegistry
    from resources.photo_files import PhotoFiles
    from resources.tables import Tables

_PHOTO_ID = re.compile(r"[0-9a-f]{64}")


class ErasureError(ValueError):
    """The request cannot be carried out as it is; the message says what to do."""


class ErasureIncompleteError(RuntimeError):
    """Something of the photo is still there; the message says what, and what to do before the job is run again."""


@dataclass(frozen=True)
class Request:
    """Which photo to erase, and why.

    Attributes:
        photo_id: SHA-256 of the uploaded bytes, hex.
        reason: For the record, such as the number of a ticket; no names, since it is kept.
        requested_by: For the record: a role or team.
        never_ingested: Keep the photo out although nothing here knows it.
    """

    photo_id: str
    reason: str
    requested_by: str = ""
    never_ingested: bool = False

    def checked(self) -> "Request":
        """The request with its photo_id in lower case.

        Raises:
            ErasureError: No photo_id, or no reason.
        """
        photo_id = self.photo_id.strip().lower()
        if not _PHOTO_ID.fullmatch(photo_id):
            raise ErasureError(
                f"{self.photo_id!r} is no photo_id: 64 hexadecimal digits, the SHA-256 of the uploaded file "
                "(`sha256sum <file>`), as in the tables and in the title of a photo on the catalogue's pages"
            )
        if not self.reason.strip():
            raise ErasureError("An erasure needs a reason for the record, such as the number of a ticket")
        return Request(photo_id, self.reason.strip(), self.requested_by.strip(), self.never_ingested)


@dataclass(frozen=True)
class Places:
    """Everything of one use case that may hold something of a photo.

    Attributes:
        redact_events: Takes texts out of Dagster's event log and says how many events held one; with `dry_run` counts.
        now: The time, UTC.
        run_id: Of the run that erases, for the catalogue's pages.
    """

    photos: "PhotoFiles"
    tables: "Tables"
    datasets: "DatasetVersions"
    database: "CatalogDatabase"
    registry: "ModelRegistry"
    label_drop: DropPath
    pages: Path
    scratch: Path
    use_case: UseCase
    redact_events: Callable[[Sequence[str], bool], int]
    now: Callable[[], dt.datetime]
    run_id: str
    threads: int = 2
