"""The contract of the landing zone (DESIGN §3): folder layout, and sidecar files that tell about a photo.

Works on listings and bytes alone; reading files is for `resources.photo_files`, judging pictures for `pictures`.
"""

import datetime as dt
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from mlops_assets.photos.capture_time import to_utc
from mlops_assets.photos.quarantine import QuarantineError
from resources.landed_file import LandedFile

SIDECAR_SUFFIX = ".json"

MAX_SIDECAR_BYTES = 64 * 1024
"""A sidecar holds four short fields; more is not one."""

_NOT_UTF8 = re.compile(r"\\udc[89a-f][0-9a-f]")  # as PhotoFiles spells such bytes


class SidecarError(ValueError):
    """A sidecar that cannot be used; its photo is taken without it."""


@dataclass(frozen=True)
class LandedPhoto:
    """A landed file that gets a row in the ledger, with its sidecar; or a sidecar that has no photo."""

    file: LandedFile
    sidecar: LandedFile | None = None
    is_orphan_sidecar: bool = False

    @property
    def etag(self) -> str:
        """Changes when the photo or its sidecar may have changed."""
        return self.file.etag if self.sidecar is None else f"{self.file.etag}+{self.sidecar.etag}"


@dataclass(frozen=True)
class Place:
    """Where a landed file belongs."""

    enclosure_id: str
    file: str


def _text(value: str) -> str | None:
    return value.strip() or None


_ShortText = Annotated[str, StringConstraints(max_length=200), AfterValidator(_text)]


class Sidecar(BaseModel):
    """What an upload app writes beside a photo; further fields are left alone, wrong types are refused."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    technician: _ShortText | None = None
    visit_id: _ShortText | None = None
    captured_at: dt.datetime | None = None
    note: str | None = None


def pair(files: Sequence[LandedFile]) -> list[LandedPhoto]:
    """Put each sidecar `<file>.json` to its photo `<file>` in the same folder.

    Args:
        files: A day's listing.

    Returns:
        By path, one entry a file that is not the sidecar of another: every listed file is in it exactly once, as
        photo, as sidecar or as orphan sidecar.
    """
    photos = {file.relative_path: file for file in files if not _is_json(file.relative_path)}
    sidecars: dict[str, LandedFile] = {}
    orphans = []
    for file in sorted(files, key=lambda file: file.relative_path):
        if not _is_json(file.relative_path):
            continue
        photo = file.relative_path[: -len(SIDECAR_SUFFIX)]
        if photo in photos and photo not in sidecars:
            sidecars[photo] = file
        else:
            orphans.append(LandedPhoto(file, is_orphan_sidecar=True))
    entries = [LandedPhoto(file, sidecars.get(path)) for path, file in photos.items()] + orphans
    return sorted(entries, key=lambda entry: entry.file.relative_path)


def _is_json(path: str) -> bool:
    return path.lower().endswith(SIDECAR_SUFFIX)


def changed_uris(files: Sequence[LandedFile], ledger: pl.DataFrame) -> list[str]:
    """Landed files that the day's ledger does not know in their present state, for a sensor or a check.

    Args:
        files: A day's listing.
        ledger: The day's RAW_PHOTOS.
    """
    known = set(ledger.select("landing_uri", "etag").iter_rows())
    return [entry.file.uri for entry in pair(files) if (entry.file.uri, entry.etag) not in known]


def place(relative_path: str) -> Place:
    """Read enclosure and file name off a path below the day's folder.

    Args:
        relative_path: `<enclosure_id>/<file>`.

    Raises:
        QuarantineError: The path does not have that form.
    """
    if _NOT_UTF8.search(relative_path):
        raise QuarantineError("The file or folder name is no valid UTF-8 text.", "Rename it and upload it again.")
    folders, _, file = relative_path.rpartition("/")
    if not folders:
        raise QuarantineError(
            "The file lies directly in the day's folder, so its enclosure is not known.",
            "Upload it to a folder named after the enclosure.",
        )
    if "/" in folders:
        raise QuarantineError(
            f"The file lies {folders.count('/') + 1} folders deep; the form is <day>/<enclosure>/<file>.",
            "Upload it directly to the folder of the enclosure.",
        )
    # Some phones and computers write letters and their accents apart; an id has one spelling.
    enclosure_id = unicodedata.normalize("NFC", folders).strip()
    if not enclosure_id or not enclosure_id.isprintable() or enclosure_id.startswith("."):
        raise QuarantineError(
            f"The folder name {folders!r} is no enclosure id.", "Rename the folder to the id of the enclosure."
        )
    return Place(enclosure_id=enclosure_id, file=file)


def parse_sidecar(content: bytes, zone: ZoneInfo) -> Sidecar:
    """Read and check a sidecar.

    Args:
        content: The file's bytes.
        zone: Time zone of a captured_at without offset.

    Returns:
        The sidecar, captured_at in UTC.

    Raises:
        SidecarError: Too large, no JSON object, or a field of the wrong type.
    """
    if len(content) > MAX_SIDECAR_BYTES:
        raise SidecarError(f"larger than {MAX_SIDECAR_BYTES // 1024} KiB")
    try:
        sidecar = Sidecar.model_validate_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        raise SidecarError("; ".join(_problem(detail["loc"], detail["msg"]) for detail in error.errors())) from error
    if sidecar.captured_at is None:
        return sidecar
    try:
        return sidecar.model_copy(update={"captured_at": to_utc(sidecar.captured_at, zone)})
    except ValueError as error:
        raise SidecarError(f"captured_at: {error}") from error


def _problem(location: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, location)) or 'file'}: {message}"
