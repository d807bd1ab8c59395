"""The catalogue after an erasure: counted anew from what is left, so that the next best photo is the evidence.

The rules are those of the catalogue stage; this only puts its functions together outside of the lineage.
"""

import polars as pl

from mlops_assets.catalog.schema import DETECTIONS, EQUIPMENT_CATALOG, EQUIPMENT_CHANGES, VISIT_INVENTORY
from mlops_assets.detector.champion import latest_champion
from mlops_assets.erasure.places import Places
from mlops_assets.labels.class_links import ClassLinks
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS

TABLES = {
    "visit_inventory": VISIT_INVENTORY,
    "equipment_catalog": EQUIPMENT_CATALOG,
    "equipment_changes": EQUIPMENT_CHANGES,
}


def rebuild(places: Places) -> bool:
    """Write inventory, catalogue, changes, database and pages anew; False where there is no catalogue yet.

    Rows that rest on the erased photo are gone from tables and database before anything is counted, so that nothing
    dangles where counting fails.

    Raises:
        mlops_assets.catalog.catalog.UnknownClassError: Detections of a class that equipment_classes does not have.
        mlops_assets.catalog.inventory.InventoryInputError: Photos or detections contradict themselves.
    """
    there = {name for name, _ in places.tables.files()}
    if not there.issuperset(TABLES):
        return False
    _write(places, {name: places.tables.read(name, schema) for name, schema in TABLES.items()})
    _write(places, _counted_anew(places))
    places.database.compact(TABLES)
    _write_pages(places)
    return True


def _write(places: Places, frames: dict[str, pl.DataFrame]) -> None:
    for name, frame in frames.items():
        places.tables.replace(name, None, frame)
    places.database.replace_tables(frames)


def _days(places: Places, name: str, schema: pl.Schema) -> dict[str, pl.DataFrame]:
    days = [day for table, day in places.tables.files() if table == name and day is not None]
    return {day: places.tables.read(name, schema, day) for day in days}


def _photos(places: Places) -> pl.DataFrame:
    from mlops_assets.photos.lookup import photos_of_visits

    return photos_of_visits(_days(places, "raw_photos", RAW_PHOTOS), _days(places, "clean_photos", CLEAN_PHOTOS))


def _counted_anew(places: Places) -> dict[str, pl.DataFrame]:
    from mlops_assets.catalog.catalog import equipment_catalog, equipment_changes
    from mlops_assets.catalog.inventory import visit_inventory

    champion = latest_champion(places.tables)
    classes = places.tables.read("equipment_classes", EQUIPMENT_CLASSES)
    inventory = visit_inventory(
        places.tables.read_days("detections", DETECTIONS).drop("day"),
        _photos(places),
        champion.thresholds if champion else {},
        places.use_case.inventory,
        ClassLinks.of(classes),
    )
    return {
        "visit_inventory": inventory,
        "equipment_catalog": equipment_catalog(inventory, classes),
        "equipment_changes": equipment_changes(inventory),
    }


def _write_pages(places: Places) -> None:
    from mlops_assets.catalog.inventory import counted_detections
    from mlops_assets.catalog.pages import write_pages
    from mlops_assets.detector.charts import annotate

    champion = latest_champion(places.tables)
    found = places.tables.read_days("detections", DETECTIONS).drop("day")
    classes = places.tables.read("equipment_classes", EQUIPMENT_CLASSES)
    write_pages(
        places.pages,
        title=places.use_case.title,
        catalog=places.tables.read("equipment_catalog", EQUIPMENT_CATALOG),
        changes=places.tables.read("equipment_changes", EQUIPMENT_CHANGES),
        photos=_photos(places),
        classes=classes,
        read_photo=places.photos.read_photo,
        facts={
            "Built": places.now().strftime("%Y-%m-%d %H:%M UTC"),
            "Model version": champion.version if champion else "none yet",
            "Dagster run": places.run_id,
        },
        boxes=counted_detections(
            found, champion.thresholds if champion else {}, places.use_case.inventory, ClassLinks.of(classes)
        ),
        annotate=annotate,
        workers=places.threads,
    )
