"""The equipment catalogue and its changes, both read off the visit inventory.

What a visit shows is decided in `inventory`; nothing is counted here.
"""

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.catalog.inventory import CONFIRMED, UNCONFIRMED, in_visit_order
from mlops_assets.catalog.schema import EQUIPMENT_CATALOG, EQUIPMENT_CHANGES

_ITEM = ("enclosure_id", "class_id")


class UnknownClassError(ValueError):
    """The inventory holds a class that the class table does not know."""


def equipment_catalog(visit_inventory: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Give the latest state of every item, with when it was first and last seen.

    first_seen and last_seen are the days of the first and the last visit at which the item was confirmed. What was
    removed stays listed, with status `removed` and quantity 0.

    Args:
        visit_inventory: VISIT_INVENTORY, in visit order.
        classes: EQUIPMENT_CLASSES; class_id and class_name are used.

    Returns:
        EQUIPMENT_CATALOG, sorted by enclosure and class.

    Raises:
        UnknownClassError: A class_id of the inventory is not in `classes`.
    """
    unknown = visit_inventory.join(classes, on="class_id", how="anti")["class_id"].unique().sort()
    if len(unknown):
        raise UnknownClassError(
            f"visit_inventory has class ids {unknown.to_list()} that equipment_classes does not have: "
            "materialise equipment_classes, then detections with a model trained on its classes"
        )
    confirmed = pl.col("visited_on").filter(pl.col("status") == CONFIRMED)
    latest = pl.col("quantity", "status", "confidence", "photo_id", *BOX_COLUMNS, "model_version").last()
    return (
        in_visit_order(visit_inventory)
        .group_by(_ITEM, maintain_order=True)
        .agg(latest, confirmed.first().alias("first_seen"), confirmed.last().alias("last_seen"))
        .join(classes.select("class_id", "class_name"), on="class_id", how="left")
        .sort(_ITEM)
        .select(EQUIPMENT_CATALOG.names())
        .cast(EQUIPMENT_CATALOG)
    )


def equipment_changes(visit_inventory: pl.DataFrame) -> pl.DataFrame:
    """List what appeared, disappeared or changed in quantity from one visit of an enclosure to the next.

    An enclosure's first visit with an item is its baseline and makes no change: nothing is known of what was there
    before. Unconfirmed rows make none either; the next confirmed or removed row is compared with the last such one.

    Args:
        visit_inventory: VISIT_INVENTORY, in visit order.

    Returns:
        EQUIPMENT_CHANGES, sorted by enclosure, visit and class. `from` and `to` are quantities; the evidence is that of
        the visit, and for a disappearance that of the last sighting.
    """
    return quantity_changes(visit_inventory).select(EQUIPMENT_CHANGES.names()).cast(EQUIPMENT_CHANGES)


def quantity_changes(rows: pl.DataFrame) -> pl.DataFrame:
    """Find the rows whose quantity differs from that of the item's last settled row; see `equipment_changes`.

    Args:
        rows: At least enclosure_id, visit_id, visited_on, class_id, quantity and status, in visit order.

    Returns:
        The rows that are changes, with all their columns and change, from and to beside them.
    """
    before, after = pl.col("from"), pl.col("to")
    change = pl.when(before == 0).then(pl.lit("appeared")).when(after == 0).then(pl.lit("disappeared"))
    return (
        in_visit_order(rows)
        .with_columns((pl.col("visit_id") == pl.col("visit_id").first().over("enclosure_id")).alias("_baseline"))
        .filter(pl.col("status") != UNCONFIRMED)
        .with_columns(
            pl.col("quantity").shift().over(_ITEM).fill_null(0).alias("from"),
            pl.col("quantity").alias("to"),
        )
        .filter(~pl.col("_baseline") & (before != after))
        .with_columns(change.otherwise(pl.lit("quantity")).alias("change"))
        .drop("_baseline")
    )
