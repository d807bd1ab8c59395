"""The uploads of a photo in the landing zone: those that the ledger knows, and those that nobody has looked at yet."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from mlops_assets.erasure.places import ErasureIncompleteError, Places
from mlops_assets.labels.matching import hashed_names
from mlops_assets.photos.erased import forget_uploads
from mlops_assets.photos.landing import SIDECAR_SUFFIX
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS
from resources.deletion import Deletion
from resources.landed_file import LandedFile, LandedFileError


@dataclass(frozen=True)
class Upload:
    """One file of the landing zone with the photo's bytes, and its sidecars that are there."""

    day: str
    uri: str
    sidecars: tuple[str, ...]

    @property
    def name(self) -> str:
        """`<day>/<enclosure>/<file>`."""
        return "/".join(self.uri.replace("\\", "/").rsplit("/", 3)[-3:])


def uploads_of(places: Places, photo_id: str) -> list[Upload]:
    """Find every upload of a photo, by day and name.

    The ledger says which file had the photo_id; of files that it does not know in their present state, those of the
    photo's size are read.

    Raises:
        OSError: The landing zone cannot be read.
    """
    ledgers = _ledgers(places)
    own = {day: _own_rows(ledger, photo_id) for day, ledger in ledgers.items()}
    sizes = {size for rows in own.values() for size in rows["byte_size"]} | set(_stored_sizes(places, photo_id))
    found: list[Upload] = []
    for day in sorted({*places.photos.list_days(), *ledgers}):
        files = places.photos.list_day(day)
        known = own.get(day, RAW_PHOTOS.to_frame())["landing_uri"].to_list()
        uris = [uri for uri in known if not uri.startswith("erased:")]
        uris += [
            file.uri
            for file in _unknown(files, ledgers.get(day, RAW_PHOTOS.to_frame()))
            if file.byte_size in sizes and file.uri not in uris and _is_photo(places, file, photo_id)
        ]
        found += [Upload(day, uri, _sidecars(uri, files)) for uri in uris]
    return found


def names_of(uploads: Sequence[Upload], photo_id: str) -> tuple[str, ...]:
    """Hashes of all names by which labels may mean the photo, itself included."""
    rows = pl.DataFrame(
        {"photo_id": photo_id, "landing_uri": [upload.uri for upload in uploads] or [photo_id]},
        schema={"photo_id": pl.String(), "landing_uri": pl.String()},
    )
    return tuple(hashed_names(rows))


def erase_uploads(places: Places, photo_id: str, uploads: Sequence[Upload]) -> list[Deletion]:
    """Delete uploads; one that may not be deleted does not keep the others.

    Raises:
        ErasureIncompleteError: The account may not delete from the landing zone.
    """
    deleted: list[Deletion] = []
    refused: list[str] = []
    for upload in uploads:
        try:
            deleted += places.photos.erase_upload(upload.uri, photo_id, upload.sidecars)
        except PermissionError:
            refused += [*upload.sidecars, upload.uri]
    if refused:
        raise ErasureIncompleteError(
            f"The landing zone may not be deleted from: {', '.join(refused)}. Delete these files, with their older "
            "versions where the bucket keeps them, or give this account the right to; then run the job again. All else "
            "of the photo was removed"
        )
    return deleted


def forget_names(places: Places, photo_id: str, uploads: Sequence[Upload]) -> None:
    """Take the names of deleted uploads out of the ledgers."""
    uris = [upload.uri for upload in uploads]
    for day, ledger in _ledgers(places).items():
        if _own_rows(ledger, photo_id)["landing_uri"].is_in(uris).any():
            places.tables.replace("raw_photos", day, forget_uploads(ledger, uris))


def rewrite_retakes(places: Places, photo_id: str) -> None:
    """Write the retake reports of the photo's days anew, from tables that no longer tell of it."""
    from mlops_assets.photos.retakes import as_csv, retakes

    for day, ledger in _ledgers(places).items():
        if not _own_rows(ledger, photo_id).is_empty():
            cleaned = places.tables.read("clean_photos", CLEAN_PHOTOS, day)
            places.photos.put_report(f"retakes/{day}.csv", as_csv(retakes(ledger, cleaned)))


def _ledgers(places: Places) -> dict[str, pl.DataFrame]:
    days = [day for name, day in places.tables.files() if name == "raw_photos" and day is not None]
    return {day: places.tables.read("raw_photos", RAW_PHOTOS, day) for day in days}


def _own_rows(ledger: pl.DataFrame, photo_id: str) -> pl.DataFrame:
    return ledger.filter(pl.col("photo_id") == photo_id)


def _stored_sizes(places: Places, photo_id: str) -> Iterator[int]:
    """Sizes of the stored originals: a ledger may have forgotten an upload that was overwritten."""
    from resources.locations import location

    for address in places.photos.stored(photo_id):
        if "/originals/" in address:
            yield int(location(address).stat().st_size)


def _unknown(files: Sequence[LandedFile], ledger: pl.DataFrame) -> list[LandedFile]:
    read = ledger.filter(pl.col("photo_id").is_not_null() & pl.col("etag").is_not_null())
    etags = {uri: etag.split("+")[0] for uri, etag in read.select("landing_uri", "etag").iter_rows()}
    return [file for file in files if etags.get(file.uri) != file.etag]


def _is_photo(places: Places, file: LandedFile, photo_id: str) -> bool:
    try:
        return hashlib.sha256(places.photos.read(file.uri)).hexdigest() == photo_id
    except (LandedFileError, FileNotFoundError):
        return False  # a link out of the landing zone, or gone since: no upload of anything


def _sidecars(uri: str, files: Sequence[LandedFile]) -> tuple[str, ...]:
    end = len(SIDECAR_SUFFIX)
    return tuple(file.uri for file in files if file.uri.lower().endswith(SIDECAR_SUFFIX) and file.uri[:-end] == uri)
