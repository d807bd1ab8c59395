"""The quality table of a day: one row an accepted photo, measured, judged and compared with its neighbours."""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import polars as pl

from mlops_assets.photos.candidates import COMPARED, Earlier
from mlops_assets.photos.examination import examined_by, measure_again
from mlops_assets.photos.near_duplicates import MARKS, mark_near_duplicates
from mlops_assets.photos.parallel import Progress, map_in_threads
from mlops_assets.photos.pictures import EXTENSIONS
from mlops_assets.photos.quality import Measures, judge
from mlops_assets.photos.schema import CLEAN_PHOTOS
from mlops_assets.use_case import IntakeRules, QualityRules

if TYPE_CHECKING:
    from resources.photo_files import PhotoFiles

_MEASURES = [field.name for field in fields(Measures)]


def clean_day(
    store: "PhotoFiles",
    day: str,
    ledger: pl.DataFrame,
    *,
    measured: pl.DataFrame,
    previous: pl.DataFrame,
    earlier: Earlier,
    rules: QualityRules,
    intake_rules: IntakeRules,
    progress: Progress | None = None,
    workers: int | None = None,
) -> pl.DataFrame:
    """Judge the accepted photos of a day.

    A photo is read only where neither `measured` nor `previous` tells how it would be measured now. Verdicts are worked
    out anew from the measures, so that a changed threshold costs no reading. Photos are compared again only where there
    is something else to compare with.

    Args:
        store: Holds the originals and the normalised photos.
        day: YYYY-MM-DD.
        ledger: The day's RAW_PHOTOS.
        measured: The day's PHOTO_MEASURES.
        previous: The day's last CLEAN_PHOTOS; empty at first, or after the measures themselves have changed.
        earlier: The photos of all earlier days, of which each photo may be a near-duplicate.
        rules: Thresholds of the use case.
        intake_rules: How photos are examined in this use case.
        progress: Called after each photo that was read.
        workers: Threads; as many as there are cores where None.

    Returns:
        CLEAN_PHOTOS by landing_uri, one row an accepted photo.

    Raises:
        FileNotFoundError: An accepted photo, or an earlier one that it may repeat, is not in the store.
        mlops_assets.photos.candidates.ChangedDayError: An earlier day was written anew meanwhile.
        OSError: The store cannot be read.
        mlops_assets.photos.quarantine.QuarantineError: A stored original is damaged.
    """
    accepted = ledger.filter(pl.col("status") == "accepted").sort("landing_uri")
    known = _measures(previous) | _measures(measured.filter(pl.col("examined_by") == examined_by(intake_rules)))
    to_read = accepted.filter(~pl.col("photo_id").is_in(list(known))).select("photo_id", "format").rows()

    def measure_original(photo: tuple[str, str]) -> tuple[str, Measures]:
        photo_id, kind = photo
        return photo_id, measure_again(store.read_original(photo_id, EXTENSIONS[kind]), intake_rules)

    results = map_in_threads(measure_original, to_read, workers=workers)
    for done, (photo_id, measures) in enumerate(results, start=1):
        known[photo_id] = measures
        if progress is not None:
            progress(done, len(to_read))
    rows = [
        {
            "photo_id": photo["photo_id"],
            "uri": store.photo_uri(photo["photo_id"]),
            "enclosure_id": photo["enclosure_id"],
            "technician": photo["technician"],
            **asdict(known[photo["photo_id"]]),
            **asdict(judge(known[photo["photo_id"]], rules, long_side=max(photo["width"], photo["height"]))),
        }
        for photo in accepted.iter_rows(named=True)
    ]
    judged = pl.DataFrame(rows, schema={**COMPARED, **CLEAN_PHOTOS}, orient="row")
    marks = mark_near_duplicates(
        day,
        judged.select(COMPARED.names()),
        earlier,
        previous=previous,
        read_photo=store.read_photo,
        rules=rules.near_duplicates,
        workers=workers,
    )
    return judged.with_columns(marks.select(MARKS.names())).select(CLEAN_PHOTOS.names())


def _measures(table: pl.DataFrame) -> dict[str, Measures]:
    """Measures by photo_id, of the rows that have them."""
    rows = table.filter(pl.col("perceptual_hash").is_not_null()).to_dicts()
    return {row["photo_id"]: Measures(**{name: row[name] for name in _MEASURES}) for row in rows}
