"""Photos as they were landed, and as later stages may use them."""

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_BATCH, RETRY
from mlops_assets.lineage import own_code_version
from mlops_assets.metadata import counts, photo, preview
from mlops_assets.partitions import DAYS
from mlops_assets.photos.schema import CLEAN_PHOTOS, PHOTO_MEASURES, RAW_PHOTOS
from mlops_assets.progress import logged_progress
from mlops_assets.use_case import UseCase
from resources.machine import Machine
from resources.photo_store import PhotoStore
from resources.tables import CODE_VERSION, Tables

if TYPE_CHECKING:
    from mlops_assets.photos.candidates import Earlier


@dg.asset(
    group_name="photos",
    kinds={"image", "polars"},
    partitions_def=DAYS,
    op_tags=CPU_BATCH,
    retry_policy=RETRY,
)
def raw_photos(
    context: dg.AssetExecutionContext,
    photo_store: PhotoStore,
    tables: Tables,
    machine: Machine,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """The ledger of a day's landed files: accepted, a duplicate, quarantined with reason and remedy, or erased."""
    from mlops_assets.photos.intake import conservation, counting_first, ingest_day

    day = context.partition_key
    photo_store.remove_left_over()

    previous = tables.read("raw_photos", RAW_PHOTOS, day)

    def accepted_elsewhere(photo_ids: pl.Series) -> pl.DataFrame:
        wanted = (pl.col("status") == "accepted") & pl.col("photo_id").is_in(photo_ids.implode())
        accepted = tables.read_days("raw_photos", RAW_PHOTOS, columns=("photo_id", "landing_uri"), where=wanted)
        return counting_first(accepted, day, previous)

    taken = ingest_day(
        photo_store,
        day,
        previous=previous,
        measured=tables.read("photo_measures", PHOTO_MEASURES, day),
        elsewhere=accepted_elsewhere,
        rules=use_case.intake,
        timezone=use_case.timezone,
        first_day=use_case.start,
        progress=logged_progress(context.log, "photos taken in"),
        workers=machine.threads,
        read_again=tables.made_by("raw_photos", day).get(CODE_VERSION) != own_code_version(context),
        erased=photo_store.tombstones().erased_at,
    )
    # Before the ledger, which tells what need not be read again.
    tables.write("photo_measures", taken.measures, PHOTO_MEASURES, day)
    ledger = taken.ledger
    quarantined = ledger.filter(pl.col("status") == "quarantined").select("landing_uri", "reason", "remedy")
    outside = photo_store.misplaced() + [d for d in photo_store.list_days() if d < use_case.start.isoformat()]
    context.add_output_metadata(
        {
            **conservation(ledger),
            "preview": preview(ledger),
            "quarantine": preview(quarantined, rows=50),
            "outside_every_day": ", ".join(outside) or "nothing",
        }
    )
    return ledger


@dg.asset(
    group_name="photos",
    kinds={"image", "polars"},
    partitions_def=DAYS,
    op_tags=CPU_BATCH,
    retry_policy=RETRY,
)
def clean_photos(
    context: dg.AssetExecutionContext,
    raw_photos: pl.DataFrame,
    photo_store: PhotoStore,
    tables: Tables,
    machine: Machine,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """Quality verdict, retake advice and perceptual hash of every accepted photo, and which earlier one it repeats."""
    from mlops_assets.photos.cleaning import clean_day
    from mlops_assets.photos.pixels import decode_scaled
    from mlops_assets.photos.retakes import as_csv, retakes, retakes_by
    from mlops_assets.photos.reuse import reused_photos

    day = context.partition_key
    photos = clean_day(
        photo_store,
        day,
        raw_photos,
        measured=tables.read("photo_measures", PHOTO_MEASURES, day),
        previous=tables.read_if_made_by(own_code_version(context), "clean_photos", CLEAN_PHOTOS, day),
        earlier=_earlier_photos(tables, day),
        rules=use_case.quality,
        intake_rules=use_case.intake,
        progress=logged_progress(context.log, "photos cleaned"),
        workers=machine.threads,
    )
    report = photo_store.put_report(f"retakes/{day}.csv", as_csv(retakes(raw_photos, photos)))
    reused = reused_photos({day: raw_photos}, {day: photos})
    metadata: dict[str, dg.MetadataValue | int] = {
        "verdicts": counts(photos, "verdict"),
        "retakes_by_technician": preview(retakes_by("technician", raw_photos, photos), rows=50),
        "retakes_by_enclosure": preview(retakes_by("enclosure_id", raw_photos, photos), rows=50),
        "retakes": dg.MetadataValue.path(report),
        "near_duplicates": photos["near_duplicate_of"].count(),
        "reused_for_another_enclosure": preview(reused, rows=50),
        "preview": preview(photos),
    }
    if photos.height:
        sample = photos.row(0, named=True)["photo_id"]
        metadata["sample"] = photo(decode_scaled(photo_store.read_photo(sample), 640), sample)
    context.add_output_metadata(metadata)
    return photos


def _earlier_photos(tables: Tables, day: str) -> "Earlier":
    """Photos of the days before one, read from their tables a day at a time."""
    from mlops_assets.photos.candidates import Earlier, comparable

    hashes = tables.each_day("clean_photos", {"perceptual_hash": CLEAN_PHOTOS["perceptual_hash"]}, before=day)
    return Earlier(
        ((earlier, frame["perceptual_hash"].to_list()) for earlier, frame in hashes),
        lambda earlier: comparable(
            tables.read("clean_photos", CLEAN_PHOTOS, earlier), tables.read("raw_photos", RAW_PHOTOS, earlier)
        ),
    )
