"""Photos as they were landed, and as later stages may use them."""

import dagster as dg
import polars as pl

from mlops_assets.compute import CPU_BATCH, RETRY
from mlops_assets.lineage import own_code_version
from mlops_assets.metadata import counts, photo, preview
from mlops_assets.partitions import DAYS
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS
from mlops_assets.progress import logged_progress
from mlops_assets.use_case import UseCase
from resources.machine import Machine
from resources.photo_store import PhotoStore
from resources.tables import CODE_VERSION, Tables


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
    from mlops_assets.photos.intake import conservation, ingest_day

    day = context.partition_key
    earlier = tables.read_days("raw_photos", RAW_PHOTOS, before=day).filter(pl.col("status") == "accepted")
    ledger = ingest_day(
        photo_store,
        day,
        previous=tables.read("raw_photos", RAW_PHOTOS, day),
        earlier=earlier.select("photo_id", "landing_uri"),
        rules=use_case.intake,
        timezone=use_case.timezone,
        first_day=use_case.start,
        progress=logged_progress(context.log, "photos taken in"),
        workers=machine.threads,
        read_again=tables.made_by("raw_photos", day).get(CODE_VERSION) != own_code_version(context),
        erased=photo_store.tombstones().erased_at,
    )
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
    """Quality verdict, retake advice and perceptual hash of every accepted photo."""
    from mlops_assets.photos.cleaning import clean_day
    from mlops_assets.photos.pixels import decode_scaled

    day = context.partition_key
    accepted = tables.read_days("raw_photos", RAW_PHOTOS, before=day).filter(pl.col("status") == "accepted")
    enclosures = accepted.select("photo_id", "enclosure_id")
    # In the order of days: of near-duplicates the first one counts.
    cleaned = tables.read_days("clean_photos", CLEAN_PHOTOS, before=day)
    recent = cleaned.join(enclosures, on="photo_id", maintain_order="left")
    photos = clean_day(
        photo_store,
        raw_photos,
        previous=tables.read_if_made_by(own_code_version(context), "clean_photos", CLEAN_PHOTOS, day),
        recent=recent.select("photo_id", "enclosure_id", "perceptual_hash"),
        rules=use_case.quality,
        progress=logged_progress(context.log, "photos cleaned"),
        workers=machine.threads,
    )
    rejected = photos.filter(pl.col("verdict") == "rejected")
    metadata: dict[str, dg.MetadataValue] = {
        "verdicts": counts(photos, "verdict"),
        "retakes": preview(rejected.select("photo_id", "reason", "retake_advice"), rows=50),
        "preview": preview(photos),
    }
    if photos.height:
        sample = photos.row(0, named=True)["photo_id"]
        metadata["sample"] = photo(decode_scaled(photo_store.read_photo(sample), 640), sample)
    context.add_output_metadata(metadata)
    return photos
