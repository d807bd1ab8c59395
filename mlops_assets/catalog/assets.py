"""What is in which enclosure: found on photos, counted over visits, written for people and programs to read."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl

from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT
from mlops_assets.compute import CPU_BATCH, CPU_LIGHT, RETRY
from mlops_assets.detector.champion import Champion, latest_champion
from mlops_assets.lineage import own_code_version
from mlops_assets.metadata import counts, photo, preview
from mlops_assets.partitions import DAYS
from mlops_assets.progress import logged_progress
from mlops_assets.use_case import UseCase
from resources.catalog_database import CatalogDatabase
from resources.machine import Machine
from resources.model_registry import ModelRegistry
from resources.output_folder import OutputFolder
from resources.photo_store import PhotoStore
from resources.tables import Tables


@dg.asset(
    group_name="catalog",
    kinds={"onnx", "polars"},
    partitions_def=DAYS,
    op_tags=CPU_BATCH,
    retry_policy=RETRY,
    deps=["champion_detector"],
)
def detections(
    context: dg.AssetExecutionContext,
    clean_photos: pl.DataFrame,
    photo_store: PhotoStore,
    model_registry: ModelRegistry,
    tables: Tables,
    machine: Machine,
    use_case: dg.ResourceParam[UseCase],
) -> Iterator[dg.Output[pl.DataFrame]]:
    """What the champion finds on a day's usable photos; photos that it has looked at before are not looked at again."""
    from mlops_assets.catalog.detecting import detect_day
    from mlops_assets.catalog.looked_at import LookedAt
    from mlops_assets.catalog.samples import busiest_photo, with_names

    champion, day = latest_champion(tables), context.partition_key
    looked_at = LookedAt(tables, day, own_code_version(context), champion.version) if champion else None
    findings = detect_day(
        clean_photos,
        looked_at=looked_at,
        champion=champion,
        download=lambda champion, name, sha256: model_registry.download(
            champion.version, name, Path(machine.scratch) / "models", sha256
        ),
        read_photo=photo_store.read_photo,
        threads=machine.threads,
        progress=logged_progress(context.log, "photos looked at"),
        device=machine.device,
    )
    # Before the detections, which tell what need not be looked at again.
    tables.write("unknown_equipment", findings.unknown_equipment, UNKNOWN_EQUIPMENT, day)
    found = findings.detections
    strangest = findings.unknown_equipment.sort("score", descending=True, nulls_last=True)
    sample = busiest_photo(found, champion, use_case.inventory, photo_store.read_photo)
    metadata = {
        "model_version": champion.version if champion else "no champion yet",
        "photos": found["photo_id"].n_unique(),
        "looked_at_now": findings.looked_at,
        "runtime": findings.runtime,
        "classes": counts(with_names(found, champion), "class_name"),
        "unknown_equipment": findings.unscored or preview(strangest),
        "preview": preview(found),
        **({"sample": photo(*sample)} if sample else {}),
    }
    yield dg.Output(found, metadata=metadata)
    # Dagster goes on here when the table is written.
    if looked_at is not None:
        looked_at.clear()


@dg.asset(
    group_name="catalog",
    kinds={"polars"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="catalogue",
    deps=["champion_detector"],
)
def visit_inventory(
    context: dg.AssetExecutionContext,
    detections: dict[str, pl.DataFrame],
    raw_photos: dict[str, pl.DataFrame],
    clean_photos: dict[str, pl.DataFrame],
    equipment_classes: pl.DataFrame,
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> pl.DataFrame:
    """Quantity of each class at each visit, by the best view, with what a visit could not show carried forward."""
    from mlops_assets.catalog.inventory import visit_inventory as count_visits
    from mlops_assets.labels.class_links import ClassLinks
    from mlops_assets.photos.lookup import photos_of_visits

    champion = latest_champion(tables)
    inventory = count_visits(
        pl.concat([pl.DataFrame(schema=DETECTIONS), *detections.values()]),
        photos_of_visits(raw_photos, clean_photos),
        champion.thresholds if champion else {},
        use_case.inventory,
        ClassLinks.of(equipment_classes),
    )
    context.add_output_metadata({"statuses": counts(inventory, "status"), "preview": preview(inventory)})
    return inventory


@dg.asset(
    group_name="catalog",
    kinds={"polars", "sqlite"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="catalogue",
)
def equipment_catalog(
    context: dg.AssetExecutionContext,
    visit_inventory: pl.DataFrame,
    equipment_classes: pl.DataFrame,
    catalog_database: CatalogDatabase,
) -> pl.DataFrame:
    """The latest state of every enclosure and class, with its evidence; also in the catalogue database."""
    from mlops_assets.catalog.catalog import (
        equipment_catalog as latest_state,
    )
    from mlops_assets.catalog.catalog import (
        equipment_changes as changes_between_visits,
    )

    catalog = latest_state(visit_inventory, equipment_classes)
    written = catalog_database.replace_tables(
        {
            "equipment_catalog": catalog,
            "equipment_changes": changes_between_visits(visit_inventory),
            "visit_inventory": visit_inventory,
        }
    )
    context.add_output_metadata(
        {
            "enclosures": catalog["enclosure_id"].n_unique(),
            "statuses": counts(catalog, "status"),
            "classes": counts(catalog.filter(pl.col("quantity") > 0), "class_name"),
            "database": dg.MetadataValue.json(written),
            "preview": preview(catalog),
        }
    )
    return catalog


@dg.asset(
    group_name="catalog",
    kinds={"polars"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="catalogue",
)
def equipment_changes(context: dg.AssetExecutionContext, visit_inventory: pl.DataFrame) -> pl.DataFrame:
    """What appeared, disappeared or changed in quantity between two visits of an enclosure."""
    from mlops_assets.catalog.catalog import equipment_changes as changes_between_visits

    changes = changes_between_visits(visit_inventory)
    context.add_output_metadata({"changes": counts(changes, "change"), "preview": preview(changes)})
    return changes


@dg.asset(
    group_name="catalog",
    kinds={"html"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="catalogue",
)
def catalog_pages(
    context: dg.AssetExecutionContext,
    equipment_catalog: pl.DataFrame,
    equipment_changes: pl.DataFrame,
    equipment_classes: pl.DataFrame,
    detections: dict[str, pl.DataFrame],
    raw_photos: dict[str, pl.DataFrame],
    clean_photos: dict[str, pl.DataFrame],
    photo_store: PhotoStore,
    tables: Tables,
    pages_folder: OutputFolder,
    machine: Machine,
    use_case: dg.ResourceParam[UseCase],
) -> dg.MaterializeResult[None]:
    """Pages for people: an overview, and one page an enclosure with the photo that shows each item."""
    from mlops_assets.catalog.inventory import counted_detections
    from mlops_assets.catalog.pages import write_pages
    from mlops_assets.detector.charts import annotate
    from mlops_assets.labels.class_links import ClassLinks
    from mlops_assets.photos.lookup import photos_of_visits

    champion = latest_champion(tables)
    found = pl.concat([pl.DataFrame(schema=DETECTIONS), *detections.values()])
    result = write_pages(
        pages_folder.path(),
        title=use_case.title,
        catalog=equipment_catalog,
        changes=equipment_changes,
        photos=photos_of_visits(raw_photos, clean_photos),
        classes=equipment_classes,
        read_photo=photo_store.read_photo,
        facts=_facts(champion, context.run.run_id),
        boxes=counted_detections(
            found, champion.thresholds if champion else {}, use_case.inventory, ClassLinks.of(equipment_classes)
        ),
        annotate=annotate,
        workers=machine.threads,
    )
    return dg.MaterializeResult(
        metadata={
            "index": dg.MetadataValue.path(str(result.index)),
            "pages": result.pages,
            "pictures": result.pictures,
            "written": result.written,
            "removed": result.removed,
            "photos_unavailable": len(result.unavailable_photos),
        }
    )


def _facts(champion: Champion | None, run_id: str) -> dict[str, str]:
    return {
        "Built": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Model version": champion.version if champion else "none yet",
        "Dagster run": run_id,
    }
