"""The erasure of one photo, step by step in the order in which a kill at any moment does no harm.

The tombstone comes first, so that nothing brings the photo back; then rows, so that nothing is made of it; then what
was made of it; then its files, and its uploads last, since the ledger names them until they are gone. Every step can be
run again and finds only what is left. Which steps run beside what else is for `job`.
"""

import datetime as dt
from collections.abc import Callable, Collection, Sequence

import polars as pl

from mlops_assets.erasure import catalogue
from mlops_assets.erasure.findings import (
    event_texts,
    is_known,
    near_duplicates,
    remaining,
    rows_with,
    upload_names,
)
from mlops_assets.erasure.label_files import in_label_drop
from mlops_assets.erasure.models import clear_scratch, delete_pictures, models_with
from mlops_assets.erasure.places import ErasureError, ErasureIncompleteError, Places, Request
from mlops_assets.erasure.report import Facts, note, read_report
from mlops_assets.erasure.rows import PARSED_LABELS, without
from mlops_assets.erasure.uploads import erase_uploads, forget_names, names_of, rewrite_retakes, uploads_of
from resources.deletion import delete_leftovers
from resources.locations import location
from resources.tombstones import Tombstone

LABELS = frozenset({"annotations", "label_quarantine", "label_conflicts", PARSED_LABELS})
DATASETS = frozenset({"training_dataset", "dataset_photos", "detector_predictions", "detector_predictions_so_far"})
CATALOGUE = frozenset(catalogue.TABLES)
_A_WRITE_TAKES = dt.timedelta(hours=1)


def preview(places: Places, request: Request) -> Facts:
    """What an erasure would remove; changes nothing.

    Raises:
        ErasureError: As `announce`.
    """
    request = _known(places, request)
    photo_id = request.photo_id
    uploads = uploads_of(places, photo_id)
    holding = places.datasets.holding(photo_id)
    return {
        "photo_id": photo_id,
        "dry_run": True,
        "removed": {
            **{f"rows of {name}": count for name, count in rows_with(places, photo_id).items()},
            **{f"rows of {name}": count for name, count in places.database.rows_with(photo_id, CATALOGUE).items()},
            "files in the store": len(places.photos.stored(photo_id)) + len(places.datasets.photos().of(photo_id)),
            "uploads": len(uploads),
            "sidecars": sum(len(upload.sidecars) for upload in uploads),
            "texts of Dagster's event log": places.redact_events(event_texts(photo_id, uploads), True),
        },
        "void_datasets": sorted(holding),
        "models": models_with(places, holding),
        "near_duplicates": near_duplicates(places, photo_id),
    }


def announce(places: Places, request: Request) -> Facts:
    """Write the tombstone: from here on the photo does not come back.

    Raises:
        ErasureError: No photo_id, no reason, or a photo that nothing here knows.
    """
    request = _known(places, request)
    uploads = uploads_of(places, request.photo_id)
    tombstone = places.photos.tombstones().put(
        Tombstone(
            photo_id=request.photo_id,
            erased_at=places.now(),
            reason=request.reason,
            requested_by=request.requested_by,
            names=names_of(uploads, request.photo_id),
        )
    )
    return note(
        places.photos.root,
        request.photo_id,
        {
            "photo_id": request.photo_id,
            "erased_at": tombstone.erased_at.isoformat(),
            "reason": tombstone.reason,
            "requested_by": tombstone.requested_by,
            "near_duplicates": near_duplicates(places, request.photo_id),
        },
    )


def erase_labels(places: Places, photo_id: str) -> Facts:
    """Take the photo's labels out of the tables."""
    names = upload_names(uploads_of(places, photo_id))
    return _note_rows(places, photo_id, _forget(places, photo_id, LABELS.__contains__, names))


def erase_from_datasets(places: Places, photo_id: str) -> Facts:
    """Void the dataset versions that hold the photo, list the models, delete MLflow's and this machine's pictures."""
    removed = _forget(places, photo_id, DATASETS.__contains__)
    holding = places.datasets.holding(photo_id)
    # Before a version is changed: what was trained on it could no longer be told if this step were cut off.
    facts = {"void_datasets": sorted(holding), "models": models_with(places, holding)}
    note(places.photos.root, photo_id, facts)
    rows = sum(places.datasets.void(fingerprint, photo_id, splits) for fingerprint, splits in holding.items())
    return _note_rows(
        places,
        photo_id,
        removed,
        {
            "rows of dataset versions": rows,
            "MLflow pictures": delete_pictures(places, photo_id, holding),
            "scratch files and folders": clear_scratch(places.scratch, photo_id, list(holding)),
        },
    )


def erase_rows(places: Places, photo_id: str) -> Facts:
    """Take the photo out of every other table, known or not; in the ledger its rows become `erased`."""
    others = LABELS | DATASETS | CATALOGUE
    removed = _forget(places, photo_id, lambda name: name not in others)
    rewrite_retakes(places, photo_id)
    return _note_rows(places, photo_id, removed)


def erase_from_catalogue(places: Places, photo_id: str) -> Facts:
    """Take the photo out of the catalogue, which is counted anew: tables, database and pages."""
    removed = _forget(places, photo_id, CATALOGUE.__contains__)
    in_database = places.database.rows_with(photo_id, CATALOGUE)
    catalogue.rebuild(places)
    return _note_rows(places, photo_id, removed | in_database)


def erase_files(places: Places, photo_id: str, still_running: Sequence[str] = ()) -> tuple[Facts, list[str]]:
    """Delete all files of the photo and its uploads, redact the event log, and make sure that nothing is left.

    Args:
        places: Where to look.
        photo_id: Of the photo.
        still_running: Ids of runs that began before and may still work with it.

    Returns:
        The record, and the files of the label drop that are left to a person.

    Raises:
        ErasureIncompleteError: Something is left; the message says what.
    """
    uploads = uploads_of(places, photo_id)
    names = upload_names(uploads)
    deleted = places.photos.erase_stored(photo_id) + places.datasets.photos().erase(photo_id)
    events = places.redact_events(event_texts(photo_id, uploads), False)
    # Once more: what was written while this worked, by steps that no pool keeps away.
    again = _forget(places, photo_id, lambda _: True, names)
    before = places.now() - _A_WRITE_TAKES
    for folder in ("tables", "datasets"):
        delete_leftovers(location(places.photos.root) / folder, before)
    deleted += erase_uploads(places, photo_id, uploads)
    forget_names(places, photo_id, uploads)
    kept = any(each.versions_kept for each in deleted)
    _note_rows(
        places,
        photo_id,
        again,
        {
            "files of store and landing zone": sum(each.existed for each in deleted),
            "texts of Dagster's event log": events,
        },
    )
    to_do = ["Older versions of the photo's files: this account may not list or delete them."] if kept else []
    if read_report(places.photos.root, photo_id).get("removed", {}).get("rows of label_studio_tasks"):
        to_do.append("Its task in Label Studio and the labels from there: the next synchronisation deletes both.")
    drop = in_label_drop(places, photo_id, names)
    if drop:
        to_do.append(
            f"Files of the label drop that name the photo, are a copy of it or cannot be looked into: {len(drop)}."
        )
    record = note(places.photos.root, photo_id, {}, {"still_running": list(still_running), "to_do": to_do})
    left = remaining(places, photo_id)
    if left:
        words = ", ".join(f"{where} ({count})" for where, count in sorted(left.items()))
        raise ErasureIncompleteError(
            f"Of the photo there is still something in: {words}. Runs that worked meanwhile may have written it: run "
            "the job again when none is running"
        )
    return record, drop


def erase(places: Places, request: Request) -> tuple[Facts, list[str]]:
    """All steps one after the other, outside of Dagster; arguments and errors are theirs."""
    photo_id = str(announce(places, request)["photo_id"])
    erase_labels(places, photo_id)
    erase_from_datasets(places, photo_id)
    erase_rows(places, photo_id)
    erase_from_catalogue(places, photo_id)
    return erase_files(places, photo_id)


def _known(places: Places, request: Request) -> Request:
    request = request.checked()
    if not request.never_ingested and not is_known(places, request.photo_id):
        raise ErasureError(
            f"No photo {request.photo_id} is known: neither tables nor store have it. Look it up in raw_photos by its "
            "landing_uri, or with `sha256sum <file>`; perhaps it belongs to another use case. To keep out a photo that "
            "was never taken in, set never_ingested: true"
        )
    return request


def _forget(
    places: Places, photo_id: str, chosen: Callable[[str], bool], texts: Collection[str] = ()
) -> dict[str, int]:
    """Rewrite the chosen tables without the photo; rows that were removed or marked, by table."""
    tombstone = places.photos.tombstones().get(photo_id)
    if tombstone is None:
        raise ErasureError(f"Photo {photo_id} has no tombstone: announce its erasure first, or it may come back")
    erased = {photo_id: tombstone.erased_at}
    changed: dict[str, int] = {}
    for name, partition in places.tables.files():
        if not chosen(name):
            continue
        frame = places.tables.read_as_written(name, partition)
        kept = without(name, frame, erased, list(texts))
        if not kept.equals(frame):
            places.tables.replace(name, partition, kept)
            if name == PARSED_LABELS:  # no rows of the photo: all of them, which the next import makes again
                continue
            changed[name] = changed.get(name, 0) + _difference(frame, kept)
    return changed


def _difference(before: pl.DataFrame, after: pl.DataFrame) -> int:
    if before.height != after.height:
        return before.height - after.height
    return before.height - before.join(after, on=before.columns, how="semi", nulls_equal=True).height


def _note_rows(places: Places, photo_id: str, rows: dict[str, int], other: dict[str, int] | None = None) -> Facts:
    removed = {f"rows of {name}": count for name, count in rows.items()} | (other or {})
    return note(places.photos.root, photo_id, {"removed": {name: count for name, count in removed.items() if count}})
