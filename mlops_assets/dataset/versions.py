"""The name of a dataset version and what it says about itself: fingerprint, stable class names, data.yaml, manifest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.class_keys import class_key
from mlops_assets.dataset.canonical import digest_of
from mlops_assets.dataset.schema import SPLITS, TRAINING_DATASET
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks

FORMAT = 2
"""Of stored versions: since 2 they name the bytes of their photos, and the fingerprint is over canonical bytes."""


def active_class_map(classes: pl.DataFrame) -> dict[int, str]:
    """Display names of the active classes of EQUIPMENT_CLASSES by id, sorted by id."""
    active = classes.filter(pl.col("status") == "active").sort("class_id")
    return dict(active.select("class_id", "class_name").iter_rows())


def fingerprint(
    dataset: pl.DataFrame, class_map: Mapping[int, str], code_version: str, links: ClassLinks = NO_LINKS
) -> str:
    """SHA-256, hex, over rows, class map, merged classes and code version; no order makes a difference.

    The rows go in as `canonical.digest_of`, so that the same tables give the same name everywhere.

    Args:
        dataset: TRAINING_DATASET.
        class_map: Display names by class_id.
        code_version: Version of the code that built the dataset.
        links: Merged classes.

    Raises:
        ValueError: A box is NaN.
    """
    merged = [] if links == NO_LINKS else [links.as_json()]
    said = json.dumps([FORMAT, code_version, sorted(class_map.items()), *merged], ensure_ascii=False, sort_keys=True)
    rows = digest_of(dataset.select(TRAINING_DATASET.names()))
    return hashlib.sha256(said.encode() + b"\n" + rows).hexdigest()


def data_yaml(folder: Path | None, class_ids: Sequence[int]) -> str:
    """Ultralytics data.yaml: a folder of images a split, stable names by position in sorted ids.

    Args:
        folder: Where the images lie, written as an absolute path; None leaves it open, as in a stored version.
        class_ids: Classes of the model.
    """
    content = {
        **({"path": str(folder.resolve())} if folder else {}),
        **{split: f"images/{split}" for split in SPLITS},
        "names": {index: class_key(class_id) for index, class_id in enumerate(sorted(class_ids))},
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def manifest(
    dataset: pl.DataFrame, class_map: Mapping[int, str], code_version: str, links: ClassLinks = NO_LINKS
) -> dict[str, Any]:
    """What a model trained on the dataset must be able to tell, ready for JSON.

    Returns:
        format, fingerprint, code_version, class_map; by split `photos`, `background_photos`, `boxes`, `boxes_by_class`
        and the sorted list `enclosures`, by which promotion makes sure that no test enclosure was trained on. Where
        classes were merged, class_links, which evaluation needs.
    """
    return {
        "format": FORMAT,
        "fingerprint": fingerprint(dataset, class_map, code_version, links),
        "code_version": code_version,
        "class_map": {str(class_id): class_map[class_id] for class_id in sorted(class_map)},
        "splits": {split: _contents(dataset.filter(pl.col("split") == split)) for split in SPLITS},
        **({"class_links": links.as_json()} if links != NO_LINKS else {}),
    }


def _contents(rows: pl.DataFrame) -> dict[str, Any]:
    boxes = rows.drop_nulls(["class_id", *BOX_COLUMNS])
    by_class = boxes.group_by("class_id").len().sort("class_id")
    photos = rows["photo_id"].n_unique()
    return {
        "photos": photos,
        "background_photos": photos - boxes["photo_id"].n_unique(),
        "boxes": boxes.height,
        "boxes_by_class": {str(class_id): count for class_id, count in by_class.iter_rows()},
        "enclosures": rows["enclosure_id"].unique().sort().to_list(),
    }
