"""What landed on a past day after the day was taken in; the sensor `late_photos` asks for it.

Looks at listings and ledgers only: no file is read.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence

import polars as pl

from mlops_assets.photos.landing import pair
from resources.landed_file import LandedFile


def window(today: dt.date, days: int, first_day: dt.date) -> list[str]:
    """The past days that are looked through, ISO dates, the earliest first.

    Args:
        today: In the use case's time zone; not looked through, since it is still being landed.
        days: How many days before it.
        first_day: Start of the use case.
    """
    past = (today - dt.timedelta(back) for back in range(days, 0, -1))
    return [day.isoformat() for day in past if day >= first_day]


def listing_digest(files: Sequence[LandedFile]) -> str:
    """What a listing says, in 16 hexadecimal digits: changes with every file that is added, replaced or removed."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.relative_path):
        digest.update(f"{file.relative_path}\0{file.etag}\n".encode())
    return digest.hexdigest()[:16]


def late_uploads(files: Sequence[LandedFile], ledger: pl.DataFrame) -> int:
    """Uploads that the ledger does not hold as they are now: new ones, replaced ones, and those with a new sidecar.

    Args:
        files: The day's listing.
        ledger: The day's RAW_PHOTOS; without rows where it was never taken in.
    """
    held = set(ledger.select("landing_uri", "etag").iter_rows())
    return sum((upload.file.uri, upload.etag) not in held for upload in pair(files))
