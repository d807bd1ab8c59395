"""What the catalogue pages say, as plain values for the templates.

Only tables are read here: no files, pictures or HTML (see `pages`).
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import polars as pl

from mlops_assets.catalog.catalog import UnknownClassError
from mlops_assets.catalog.inventory import CONFIRMED, REMOVED, UNCONFIRMED

RECENT_CHANGES = 20
"""Changes listed on the overview; an enclosure's own page lists all of its own."""

_LONGEST_NAME = 150

Rows = list[dict[str, Any]]


def page_name(enclosure_id: str) -> str:
    """Give the file name of an enclosure's page: percent-encoded, and cut with a hash where that is too long."""
    encoded = quote(enclosure_id, safe="")
    if len(encoded) > _LONGEST_NAME:
        encoded = f"{encoded[:_LONGEST_NAME]}~{hashlib.sha256(enclosure_id.encode()).hexdigest()[:16]}"
    return f"{encoded}.html"


def page_link(enclosure_id: str) -> str:
    """Give the relative URL of an enclosure's page, from its folder; a `%` of the file name is encoded once more."""
    return quote(page_name(enclosure_id), safe="")


def visit_rows(photos: pl.DataFrame) -> pl.DataFrame:
    """Sum photos up to visits, newest first: enclosure_id, visit_id, visited_on, photos, usable_photos."""
    return (
        photos.group_by("enclosure_id", "visit_id")
        .agg(
            pl.col("visited_on").min(),
            pl.col("captured_at").min(),
            pl.len().alias("photos"),
            pl.col("usable").sum().alias("usable_photos"),
        )
        .sort("enclosure_id", "visited_on", "captured_at", "visit_id", descending=[False, True, True, True])
    )


def change_rows(changes: pl.DataFrame, visits: pl.DataFrame, classes: pl.DataFrame) -> pl.DataFrame:
    """Join class names and days to EQUIPMENT_CHANGES, newest first.

    Raises:
        UnknownClassError: A class_id of the changes is not in `classes`.
    """
    unknown = changes.join(classes, on="class_id", how="anti")["class_id"].unique().sort()
    if len(unknown):
        raise UnknownClassError(
            f"equipment_changes has class ids {unknown.to_list()} that equipment_classes does not have: "
            "materialise equipment_classes, then the catalogue"
        )
    return (
        changes.join(classes.select("class_id", "class_name"), on="class_id")
        .join(visits.select("enclosure_id", "visit_id", "visited_on"), on=["enclosure_id", "visit_id"], how="left")
        .sort("visited_on", "enclosure_id", "class_name", descending=[True, False, False], nulls_last=True)
    )


def overview(
    catalog: pl.DataFrame, changes: pl.DataFrame, visits: pl.DataFrame, classes: pl.DataFrame
) -> dict[str, Any]:
    """Fill the overview: totals, classes, enclosures and the newest changes.

    Args:
        catalog: EQUIPMENT_CATALOG.
        changes: As `change_rows` gives them.
        visits: As `visit_rows` gives them.
        classes: EQUIPMENT_CLASSES.
    """
    quantity, status = pl.col("quantity"), pl.col("status")
    counts = (
        quantity.filter(status == CONFIRMED).sum().alias("confirmed"),
        quantity.filter(status == UNCONFIRMED).sum().alias("unconfirmed"),
    )
    present = catalog.filter(status != REMOVED)
    by_class = (
        present.group_by("class_id")
        .agg(*counts, pl.col("enclosure_id").n_unique().alias("enclosures"))
        .join(
            classes.select("class_id", "class_name", pl.col("status").alias("class_status")), on="class_id", how="right"
        )
        .with_columns(pl.col("confirmed", "unconfirmed", "enclosures").fill_null(0))
        .filter((pl.col("class_status") == "active") | (pl.col("enclosures") > 0))
        .sort(pl.col("confirmed") + pl.col("unconfirmed"), "class_name", descending=[True, False])
    )
    by_enclosure = (
        visits.group_by("enclosure_id")
        .agg(pl.col("visited_on").max().alias("last_visit"), pl.len().alias("visits"))
        .join(present.group_by("enclosure_id").agg(*counts), on="enclosure_id", how="full", coalesce=True)
        .join(changes.group_by("enclosure_id").agg(pl.len().alias("changes")), on="enclosure_id", how="left")
        .with_columns(pl.col("visits", "confirmed", "unconfirmed", "changes").fill_null(0))
        .sort("enclosure_id")
    )
    return {
        "enclosures": _linked(by_enclosure.to_dicts()),
        "classes": by_class.to_dicts(),
        "changes": _linked(changes.head(RECENT_CHANGES).to_dicts()),
        "change_total": len(changes),
        "confirmed": int(by_class["confirmed"].sum()),
        "unconfirmed": int(by_class["unconfirmed"].sum()),
        "kinds": int((by_class["enclosures"] > 0).sum()),
        "last_visit": visits["visited_on"].max(),
        "visits": len(visits),
        "photos": int(visits["photos"].sum()),
    }


def enclosure_pages(
    catalog: pl.DataFrame,
    changes: pl.DataFrame,
    visits: pl.DataFrame,
    pictures: Mapping[str, str | None],
    photo_days: Mapping[str, dt.date],
) -> dict[str, dict[str, Any]]:
    """Fill one page an enclosure that was visited or is in the catalogue, by enclosure_id.

    Args:
        catalog: EQUIPMENT_CATALOG.
        changes: As `change_rows` gives them.
        visits: As `visit_rows` gives them.
        pictures: File name of the evidence picture by photo_id; None where the photo is no longer to be had.
        photo_days: Day of its visit by photo_id.
    """
    rank = pl.col("status").replace_strict({CONFIRMED: 0, UNCONFIRMED: 1, REMOVED: 2}, return_dtype=pl.Int8)
    items = _by_enclosure(catalog.sort(rank, "class_name"))
    history, visited = _by_enclosure(changes), _by_enclosure(visits)
    pages = {}
    for enclosure_id in sorted(items.keys() | visited.keys()):
        equipment, changed = items.get(enclosure_id, []), history.get(enclosure_id, [])
        pages[enclosure_id] = {
            "enclosure_id": enclosure_id,
            "equipment": equipment,
            "changes": changed,
            "visits": visited.get(enclosure_id, []),
            "confirmed": sum(row["quantity"] for row in equipment if row["status"] == CONFIRMED),
            "unconfirmed": sum(row["quantity"] for row in equipment if row["status"] == UNCONFIRMED),
            "evidence": _evidence(equipment, changed, pictures, photo_days),
        }
    return pages


def _linked(rows: Rows) -> Rows:
    return [row | {"link": page_link(row["enclosure_id"])} for row in rows]


def _by_enclosure(frame: pl.DataFrame) -> dict[str, Rows]:
    parts = frame.partition_by("enclosure_id", as_dict=True, maintain_order=True)
    return {str(key[0]): part.to_dicts() for key, part in parts.items()}


def _evidence(
    equipment: Rows, changes: Rows, pictures: Mapping[str, str | None], photo_days: Mapping[str, dt.date]
) -> Rows:
    """One figure a photo: first those that the current equipment rests on, then those of its changes."""
    shows: dict[str, list[str]] = {}
    for row in equipment:
        names = shows.setdefault(row["photo_id"], [])
        if row["status"] == REMOVED:
            names.append(f"{row['class_name']}, last seen {row['last_seen']}")
        else:
            names.append(f"{row['quantity']} {row['class_name']}")
    for row in changes:
        shows.setdefault(row["photo_id"], [])
    return [
        {"photo_id": photo_id, "picture": pictures[photo_id], "shows": names, "visited_on": photo_days.get(photo_id)}
        for photo_id, names in shows.items()
    ]
