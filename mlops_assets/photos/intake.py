"""The ledger of a day: what became of every landed file, its photo in the store, and what was measured on the way.

Nothing is lost: each landed file is accepted, duplicate or quarantined with a reason, or erased, and the same landing
gives the same ledger. Whether a photo is good enough, is for `cleaning`.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

from mlops_assets.photos.erased import mark_erased
from mlops_assets.photos.examination import examine, examined_by
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
from mlops_assets.photos.pictures import PictureFacts, inspect
from mlops_assets.photos.quarantine import QuarantineError
from mlops_assets.photos.schema import PHOTO_MEASURES, RAW_PHOTOS, STATUSES
from mlops_assets.use_case import IntakeRules
from resources.landed_file import LandedFileError

if TYPE_CHECKING:
    from resources.photo_files import PhotoFiles

Row = dict[str, object]

_SIDECAR_NOTE = "sidecar ignored: "
_PUT_IN_PLACE = "Upload the file itself instead of a link or special file."


@dataclass(frozen=True)
class TakenIn:
    """What a day's intake leaves."""

    ledger: pl.DataFrame
    """RAW_PHOTOS by landing_uri, one row a landed file that is not the sidecar of a photo."""
    measures: pl.DataFrame
    """PHOTO_MEASURES by photo_id, one row a photo of the ledger that was read; null measures where it was refused."""


def ingest_day(
    store: "PhotoFiles",
    day: str,
    *,
    previous: pl.DataFrame,
    measured: pl.DataFrame,
    elsewhere: Callable[[pl.Series], pl.DataFrame],
    rules: IntakeRules,
    timezone: str,
    first_day: dt.date,
    progress: Progress | None = None,
    workers: int | None = None,
    read_again: bool = False,
    erased: Callable[[], Mapping[str, dt.datetime]] = dict,
) -> TakenIn:
    """Bring a day's landing into the store and write its ledger.

    A file whose URI and etag stand in `previous` is not read again, if its photo was examined as it would be now;
    duplicates are resolved anew over all. Rows of `previous` whose file is no longer listed stay.

    Args:
        store: Landing zone and store.
        day: YYYY-MM-DD.
        previous: The day's last ledger, RAW_PHOTOS; empty at first.
        measured: The day's last PHOTO_MEASURES; empty at first.
        elsewhere: Given photo_ids, photo_id and landing_uri of those that count before this day's (`counting_first`);
            of equal ones the first.
        rules: Limits of the use case.
        timezone: IANA name, for times without offset.
        first_day: Start of the use case; what landed for an earlier day is quarantined.
        progress: Called after each file that was read.
        workers: Threads; as many as there are cores where None.
        read_again: Read every listed file, also those that `previous` holds: the code has changed.
        erased: Gives when each erased photo was erased, by photo_id; asked at the start and, for what was erased
            meanwhile, at the end.

    Raises:
        OSError: Landing zone or store cannot be read or written; nothing of the day is then recorded.
    """
    files = store.list_day(day)
    version = examined_by(rules)
    known = measured.filter(pl.col("examined_by") == version)
    reusable = _reusable(previous.clear() if read_again else previous, known["photo_id"])
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
    intake = _Intake(store, day, rules, ZoneInfo(timezone), version, frozenset(known["photo_id"]), at_start)
    new_measures: list[Row] = []
    for done, (row, measures) in enumerate(map_in_threads(intake.take, to_read, workers=workers), start=1):
        rows.append(row)
        if measures is not None:
            new_measures.append(measures)
        if progress is not None:
            progress(done, len(to_read))
    listed = {file.uri for file in files}
    kept = previous.filter(pl.col("landing_uri").is_in(reused) | ~pl.col("landing_uri").is_in(listed))
    ledger = pl.concat([kept.select(RAW_PHOTOS.names()), pl.DataFrame(rows, schema=RAW_PHOTOS, orient="row")])
    at_end = erased()
    for photo_id in set(ledger["photo_id"].drop_nulls()) & (at_end.keys() - at_start.keys()):
        store.erase_stored(photo_id)
    photo_ids = ledger["photo_id"].drop_nulls().unique()
    ledger = _resolve_duplicates(mark_erased(ledger, at_end).sort("landing_uri"), elsewhere(photo_ids))
    kept_measures = _merge(measured, new_measures, photo_ids.filter(~photo_ids.is_in(list(at_end))))
    return TakenIn(ledger, kept_measures)


def _reusable(previous: pl.DataFrame, examined: pl.Series) -> set[tuple[str, str]]:
    """URI and etag of files that need not be read: their photo's row in the measures is as it would be now."""
    rows = previous.filter(pl.col("photo_id").is_in(examined.implode()) | (pl.col("status") == "erased"))
    return set(rows.select("landing_uri", "etag").iter_rows())


def _merge(measured: pl.DataFrame, new: list[Row], photo_ids: pl.Series) -> pl.DataFrame:
    """One row a photo of the ledger; of two, the one that was measured just now."""
    latest = pl.concat(
        [pl.DataFrame(new, schema=PHOTO_MEASURES, orient="row"), measured.select(PHOTO_MEASURES.names())]
    )
    unique = latest.unique("photo_id", keep="first", maintain_order=True)
    return unique.filter(pl.col("photo_id").is_in(photo_ids.drop_nulls().implode())).sort("photo_id")


def counting_first(accepted: pl.DataFrame, day: str, previous: pl.DataFrame) -> pl.DataFrame:
    """Of photos that other days have accepted, those that count before a day's own.

    Earlier days come first; but what a later day accepted before it landed here too, as a late upload, stays there, or
    it would count on both days until the later one is taken in again.

    Args:
        accepted: photo_id, landing_uri and day of accepted photos, in the order of days.
        day: Which day's own, ISO date.
        previous: That day's last ledger, RAW_PHOTOS.
    """
    own = previous.filter(pl.col("status") == "accepted")["photo_id"].implode()
    later = (pl.col("day") > day) & ~pl.col("photo_id").is_in(own)
    return accepted.filter((pl.col("day") < day) | later)


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


@dataclass(frozen=True)
class _Intake:
    """What is the same for every file of a day; `take` is called from several threads."""

    store: "PhotoFiles"
    day: str
    rules: IntakeRules
    zone: ZoneInfo
    examined_by: str
    known: frozenset[str]
    """photo_ids that were examined as they would be now."""
    erased: Mapping[str, dt.datetime]

    def take(self, item: tuple[LandedPhoto, Place]) -> tuple[Row, Row | None]:
        """Read one file and put its photo into the store; its rows of the ledger and, if it was examined, the measures.

        What the store raises is passed on.
        """
        entry, where = item
        sidecar, ignored = _read_sidecar(self.store, entry, self.zone)
        about: Row = {
            "enclosure_id": where.enclosure_id,
            "visit_id": sidecar.visit_id or f"{where.enclosure_id}/{self.day}",
            "technician": sidecar.technician,
            "captured_at": sidecar.captured_at,
        }
        try:
            content = self.store.read(entry.file.uri)
        except LandedFileError as error:
            return _refused_row(entry, QuarantineError(f"{error}.", _PUT_IN_PLACE), **about), None
        about["photo_id"] = photo_id = hashlib.sha256(content).hexdigest()
        if photo_id in self.erased:
            return {**_file_row(entry), "photo_id": photo_id, "status": "erased"}, None
        examined: Row = {"photo_id": photo_id, "examined_by": self.examined_by}
        try:
            facts, found = self._examined(photo_id, content)
            about |= _facts_row(facts, sidecar, self.rules)
        except QuarantineError as refused:
            return _refused_row(entry, refused, **about), examined
        row = {**_file_row(entry), **about, "status": "accepted", "reason": ignored}
        return row, {**examined, **found} if found else None

    def _examined(self, photo_id: str, content: bytes) -> tuple[PictureFacts, Mapping[str, object]]:
        """Facts, and the measures of a photo that is not known yet and is in the store now."""
        if photo_id in self.known and self.store.has_photo(photo_id):
            return inspect(content, max_pixels=self.rules.max_pixels, zone=self.zone), {}
        examined = examine(content, self.rules, self.zone)
        self.store.put_original(photo_id, examined.facts.extension, content)
        self.store.put_photo(photo_id, examined.photo)
        return examined.facts, asdict(examined.measures)


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


def _facts_row(facts: PictureFacts, sidecar: Sidecar, rules: IntakeRules) -> Row:
    return {
        # The sidecar was written for this photo on purpose; the camera's clock may be off.
        "captured_at": sidecar.captured_at or facts.exif.captured_at,
        "camera": facts.exif.camera,
        "latitude": facts.exif.latitude if rules.keep_coordinates else None,
        "longitude": facts.exif.longitude if rules.keep_coordinates else None,
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


def _resolve_duplicates(ledger: pl.DataFrame, elsewhere: pl.DataFrame) -> pl.DataFrame:
    """Say of equal photos which one counts: that of another day first, then by landing_uri."""
    candidate = pl.col("status").is_in(["accepted", "duplicate"])
    first_today = (
        ledger.filter(candidate).unique("photo_id", keep="first", maintain_order=True).select("photo_id", "landing_uri")
    )
    firsts = (
        pl.concat([elsewhere.select("photo_id", "landing_uri"), first_today])
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
