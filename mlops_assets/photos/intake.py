"""The ledger of a day: what became of every landed file, and its photo in the store.

Nothing is lost: each landed file is accepted, duplicate or quarantined with a reason, or erased, and the same landing
gives the same ledger. How good a photo is, is for `cleaning`.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

from mlops_assets.photos.erased import mark_erased
from mlops_assets.photos.landing import (
    MAX_SIDECAR_BYTES,
    LandedPhoto,
    Place,
    Sidecar,
    SidecarError,
    pair,
    parse_sidecar,
    place,
)
from mlops_assets.photos.parallel import Progress, map_in_threads
from mlops_assets.photos.pictures import PictureFacts, inspect, normalise
from mlops_assets.photos.quarantine import QuarantineError
from mlops_assets.photos.schema import RAW_PHOTOS, STATUSES
from mlops_assets.use_case import IntakeRules
from resources.landed_file import LandedFileError

if TYPE_CHECKING:
    from resources.photo_files import PhotoFiles

Row = dict[str, object]

_SIDECAR_NOTE = "sidecar ignored: "
_PUT_IN_PLACE = "Upload the file itself instead of a link or special file."


def ingest_day(
    store: "PhotoFiles",
    day: str,
    *,
    previous: pl.DataFrame,
    earlier: pl.DataFrame,
    rules: IntakeRules,
    timezone: str,
    first_day: dt.date,
    progress: Progress | None = None,
    workers: int | None = None,
    read_again: bool = False,
    erased: Callable[[], Mapping[str, dt.datetime]] = dict,
) -> pl.DataFrame:
    """Bring a day's landing into the store and write its ledger.

    A file whose URI and etag stand in `previous` is not read again; duplicates are resolved anew over all. Rows of
    `previous` whose file is no longer listed stay.

    Args:
        store: Landing zone and store.
        day: YYYY-MM-DD.
        previous: The day's last ledger, RAW_PHOTOS; empty at first.
        earlier: photo_id and landing_uri of the accepted photos of earlier days; of equal photos the first counts.
        rules: Limits of the use case.
        timezone: IANA name, for times without offset.
        first_day: Start of the use case; what landed for an earlier day is quarantined.
        progress: Called after each file that was read.
        workers: Threads; as many as there are cores where None.
        read_again: Read every listed file, also those that `previous` holds: a rule or the code has changed.
        erased: Gives when each erased photo was erased, by photo_id; asked at the start and, for what was erased
            meanwhile, at the end.

    Returns:
        RAW_PHOTOS by landing_uri, one row a landed file that is not the sidecar of a photo.

    Raises:
        OSError: Landing zone or store cannot be read or written; nothing of the day is then recorded.
    """
    files = store.list_day(day)
    known = previous.filter(pl.col("photo_id").is_not_null()).select("landing_uri", "etag")
    reusable = set() if read_again else set(known.iter_rows())
    rows: list[Row] = []
    to_read: list[tuple[LandedPhoto, Place]] = []
    reused: list[str] = []
    for entry in pair(files):
        try:
            where = _check_listing(entry, day, rules, first_day)
        except QuarantineError as refused:
            rows.append(_refused_row(entry, refused))
            continue
        if (entry.file.uri, entry.etag) in reusable:
            reused.append(entry.file.uri)
        else:
            to_read.append((entry, where))
    at_start = erased()
    take = partial(_take, store=store, day=day, rules=rules, zone=ZoneInfo(timezone), erased=at_start)
    for done, row in enumerate(map_in_threads(take, to_read, workers=workers), start=1):
        rows.append(row)
        if progress is not None:
            progress(done, len(to_read))
    listed = {file.uri for file in files}
    kept = previous.filter(pl.col("landing_uri").is_in(reused) | ~pl.col("landing_uri").is_in(listed))
    ledger = pl.concat([kept.select(RAW_PHOTOS.names()), pl.DataFrame(rows, schema=RAW_PHOTOS, orient="row")])
    at_end = erased()
    for photo_id in set(ledger["photo_id"].drop_nulls()) & (at_end.keys() - at_start.keys()):
        store.erase_stored(photo_id)
    return _resolve_duplicates(mark_erased(ledger, at_end).sort("landing_uri"), earlier)


def conservation(ledger: pl.DataFrame) -> dict[str, int]:
    """Count a day's ledger: landed, and how many of them are accepted, duplicate, quarantined or erased.

    Args:
        ledger: RAW_PHOTOS of one or more days.
    """
    counts = dict(ledger.group_by("status").len().iter_rows())
    return {"landed": ledger.height, **{status: int(counts.get(status, 0)) for status in STATUSES}}


def _check_listing(entry: LandedPhoto, day: str, rules: IntakeRules, first_day: dt.date) -> Place:
    """Judge what the listing alone tells; costs no read, so it is done anew every time."""
    if dt.date.fromisoformat(day) < first_day:
        raise QuarantineError(
            f"The day {day} is before the start of the use case, {first_day}.",
            "Upload the file for a day since then, or set an earlier `start` in the use case.",
        )
    where = place(entry.file.relative_path)
    if entry.is_orphan_sidecar:
        raise QuarantineError(
            "A sidecar without a photo.", "Upload the photo beside it; a sidecar is named <photo file name>.json."
        )
    if entry.file.byte_size == 0:
        raise QuarantineError("The file is empty.", "Upload it again; the transfer was cut off before its first byte.")
    if entry.file.byte_size > rules.max_bytes:
        raise QuarantineError(
            f"The file has {entry.file.byte_size:,} bytes, more than the limit of {rules.max_bytes:,}.",
            "Upload it at the camera's normal resolution and as JPEG.",
        )
    return where


def _take(
    item: tuple[LandedPhoto, Place],
    *,
    store: "PhotoFiles",
    day: str,
    rules: IntakeRules,
    zone: ZoneInfo,
    erased: Mapping[str, dt.datetime],
) -> Row:
    """Read one file, put its photo into the store and return its row; what the store raises is passed on."""
    entry, where = item
    sidecar, ignored = _read_sidecar(store, entry, zone)
    about: Row = {
        "enclosure_id": where.enclosure_id,
        "visit_id": sidecar.visit_id or f"{where.enclosure_id}/{day}",
        "technician": sidecar.technician,
        "captured_at": sidecar.captured_at,
    }
    try:
        content = store.read(entry.file.uri)
    except LandedFileError as error:
        return _refused_row(entry, QuarantineError(f"{error}.", _PUT_IN_PLACE), **about)
    about["photo_id"] = photo_id = hashlib.sha256(content).hexdigest()
    if photo_id in erased:
        return {**_file_row(entry), "photo_id": photo_id, "status": "erased"}
    try:
        facts = inspect(content, max_pixels=rules.max_pixels, zone=zone)
        about |= _facts_row(facts, sidecar)
        if not store.has_photo(photo_id):  # else it was whole when it was stored
            photo = normalise(content, long_side=rules.normalised_long_side)
            store.put_original(photo_id, facts.extension, content)
            store.put_photo(photo_id, photo)
    except QuarantineError as refused:
        return _refused_row(entry, refused, **about)
    return {**_file_row(entry), **about, "status": "accepted", "reason": ignored}


def _read_sidecar(store: "PhotoFiles", entry: LandedPhoto, zone: ZoneInfo) -> tuple[Sidecar, str | None]:
    """The sidecar, or an empty one and the note that it was ignored and why."""
    if entry.sidecar is None:
        return Sidecar(), None
    try:
        if entry.sidecar.byte_size > MAX_SIDECAR_BYTES:
            raise SidecarError(f"larger than {MAX_SIDECAR_BYTES // 1024} KiB")
        return parse_sidecar(store.read(entry.sidecar.uri), zone), None
    except (SidecarError, LandedFileError) as error:
        return Sidecar(), f"{_SIDECAR_NOTE}{' '.join(str(error).split())}"


def _facts_row(facts: PictureFacts, sidecar: Sidecar) -> Row:
    return {
        # The sidecar was written for this photo on purpose; the camera's clock may be off.
        "captured_at": sidecar.captured_at or facts.exif.captured_at,
        "camera": facts.exif.camera,
        "latitude": facts.exif.latitude,
        "longitude": facts.exif.longitude,
        "width": facts.width,
        "height": facts.height,
        "format": facts.format,
    }


def _file_row(entry: LandedPhoto) -> Row:
    return {
        "landing_uri": entry.file.uri,
        "etag": entry.etag,
        "modified_at": entry.file.modified_at,
        "byte_size": entry.file.byte_size,
    }


def _refused_row(entry: LandedPhoto, refused: QuarantineError, **about: object) -> Row:
    return {
        **_file_row(entry),
        "width": refused.width,
        "height": refused.height,
        **about,
        "status": "quarantined",
        "reason": refused.reason,
        "remedy": refused.remedy,
    }


def _resolve_duplicates(ledger: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """Say of equal photos which one counts: of earlier days first, then by landing_uri."""
    candidate = pl.col("status").is_in(["accepted", "duplicate"])
    first_today = (
        ledger.filter(candidate).unique("photo_id", keep="first", maintain_order=True).select("photo_id", "landing_uri")
    )
    firsts = (
        pl.concat([earlier.select("photo_id", "landing_uri"), first_today])
        .unique("photo_id", keep="first", maintain_order=True)
        .rename({"landing_uri": "first_uri"})
    )
    is_duplicate = candidate & (pl.col("first_uri") != pl.col("landing_uri"))
    note = pl.col("reason").str.extract(f"({_SIDECAR_NOTE}.*)$")
    said = pl.format("The same photo as {}.", pl.col("first_uri"))
    return (
        ledger.join(firsts, on="photo_id", how="left", maintain_order="left")
        .with_columns(
            status=pl.when(is_duplicate)
            .then(pl.lit("duplicate"))
            .when(candidate)
            .then(pl.lit("accepted"))
            .otherwise("status"),
            reason=pl.when(is_duplicate)
            .then(pl.concat_str(said, note, separator=" ", ignore_nulls=True))
            .when(candidate)
            .then(note)
            .otherwise("reason"),
            remedy=pl.when(is_duplicate)
            .then(pl.lit("Nothing to do; if it was meant to show something else, upload that photo."))
            .when(candidate)
            .then(pl.lit(None, pl.String()))
            .otherwise("remedy"),
            duplicate_of=pl.when(is_duplicate).then("first_uri"),
        )
        .select(RAW_PHOTOS.names())
    )
