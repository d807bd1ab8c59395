"""What the landing zone holds: one listed file, and why reading it can be refused.

Free of dagster, so that the plain modules of the photo stage can use both. How files are listed and read is in
`photo_files`.
"""

import datetime as dt
from dataclasses import dataclass


class LandedFileError(ValueError):
    """A landed entry is no plain file (a folder behind a link, a dangling link, a pipe) and is not read."""


class LandingEscapeError(LandedFileError):
    """A symbolic link leads out of the landing zone; following it could copy any file of the host into the store."""


@dataclass(frozen=True)
class LandedFile:
    """One file of a day's landing folder, as listed; nothing of its content was read."""

    uri: str
    """Where `PhotoFiles.read` finds it: an absolute local path or `s3://bucket/key`."""
    relative_path: str
    """Path below the day's folder, with `/`; bytes of a local name that are no UTF-8 appear as `\\udcXX` in words."""
    etag: str
    """Changes when the content may have changed: S3's ETag, or modification time and size of a local file."""
    modified_at: dt.datetime
    """In UTC."""
    byte_size: int
