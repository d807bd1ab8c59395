"""Making a dataset version: its photos' bytes kept, its rows under their fingerprint, the log, and what changed.

Which rows make up the dataset is decided in `building`.
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from mlops_assets.dataset import history, keeping
from mlops_assets.dataset.building import with_photo_hashes
from mlops_assets.dataset.difference import Difference, difference
from mlops_assets.dataset.restoring import (
    DatasetVersion,
    class_map_of,
    kept_photos,
    require_named,
)
from mlops_assets.dataset.schema import DATASET_PHOTOS, DATASET_VERSIONS
from mlops_assets.dataset.versions import data_yaml, manifest
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from mlops_assets.photos.schema import PHOTO_MEASURES
from resources.dataset_photos import DamagedDatasetError

if TYPE_CHECKING:  # a script without Dagster gives what has the same methods
    from resources.dataset_versions import DatasetVersions
    from resources.photo_files import PhotoFiles
    from resources.tables import Tables

KEEPERS = 8
"""Photos that are kept side by side; nearly all of it is waiting for the store."""


@dataclass(frozen=True)
class Made:
    """A version as it was made, or found again.

    Attributes:
        dataset: TRAINING_DATASET.
        manifest: See `versions.manifest`.
        address: Of its folder.
        log: DATASET_VERSIONS, this version last.
        previous: Fingerprint of the version before, None for the first.
        changes: From the version before; None for the first, and where nothing is left of the one before.
        names: Display names of the classes of both.
    """

    dataset: pl.DataFrame
    manifest: Mapping[str, Any]
    address: str
    log: pl.DataFrame
    previous: str | None
    changes: Difference | None
    names: Mapping[int, str]


def make_version(
    dataset: pl.DataFrame,
    class_map: Mapping[int, str],
    code_version: str,
    *,
    versions: "DatasetVersions",
    tables: "Tables",
    photos: "PhotoFiles",
    now: dt.datetime,
    links: ClassLinks = NO_LINKS,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Made:
    """Keep what is new of a dataset and give it its name; content that was seen before is no new version.

    Args:
        dataset: TRAINING_DATASET, photo_sha256 null.
        class_map: Display names of the active classes.
        code_version: Of the code that built it.
        versions: Where versions are kept.
        tables: Of the log, and of the photos whose bytes are kept.
        photos: The store of normalised photos.
        now: UTC.
        links: Merged classes.
        report: Called with photos kept and photos to keep.

    Raises:
        FileNotFoundError: A photo is not in the store.
        OSError: The store cannot be read or written.
    """
    dataset = with_photo_hashes(dataset, _kept(dataset, versions, tables, photos, report))
    facts = manifest(dataset, class_map, code_version, links)
    files = {"data.yaml": data_yaml(None, list(class_map)), "manifest.json": json.dumps(facts, indent=1)}
    address = versions.put(facts["fingerprint"], dataset, files)
    log = tables.read(history.TABLE, DATASET_VERSIONS)
    extended = history.appended(log, facts, now)
    if extended.height > log.height:
        tables.write(history.TABLE, extended, DATASET_VERSIONS)
    previous = extended["fingerprint"][-2] if extended.height > 1 else None
    before = _names(versions, previous)
    changes = None if before is None else difference(versions.rows(str(previous)), dataset, before, class_map)
    return Made(dataset, facts, address, extended, previous, changes, {**(before or {}), **class_map})


def todays_version(dataset: pl.DataFrame, versions: "DatasetVersions", tables: "Tables") -> DatasetVersion:
    """The version that the table training_dataset is, to train on.

    Raises:
        DamagedDatasetError: The table is no longer what the last version holds, as after an erasure, or the version's
            manifest is gone or cannot be read.
    """
    log = tables.read(history.TABLE, DATASET_VERSIONS)
    if log.is_empty():
        raise DamagedDatasetError("No dataset version was made yet: materialise training_dataset")
    name = str(log["fingerprint"][-1])
    facts = versions.manifest(name)
    require_named(dataset, facts, name)
    return DatasetVersion(dataset, facts, kept_photos(dataset, versions.photos()))


def _kept(
    dataset: pl.DataFrame,
    versions: "DatasetVersions",
    tables: "Tables",
    photos: "PhotoFiles",
    report: Callable[[int, int], None],
) -> pl.DataFrame:
    examined = tables.read_days("photo_measures", PHOTO_MEASURES, columns=["photo_id", "examined_by"])
    # Taken in on several days, a photo may have been examined more than once.
    versions_of_photo = examined.group_by("photo_id").agg(pl.col("examined_by").unique().sort().str.join(" "))
    wanted = dataset.select("photo_id").unique().join(versions_of_photo, on="photo_id", how="left")
    kept_photos = versions.photos()
    return keeping.keep_photos(
        wanted,
        tables.read(keeping.TABLE, DATASET_PHOTOS),
        lambda photo_id: kept_photos.keep(photo_id, photos),
        workers=KEEPERS,
        save=lambda frame: tables.write(keeping.TABLE, frame, DATASET_PHOTOS),
        report=report,
    )


def _names(versions: "DatasetVersions", fingerprint: str | None) -> dict[int, str] | None:
    """Display names of an earlier version's classes; None where there is none, or a person removed it."""
    if fingerprint is None or not versions.has(fingerprint):
        return None
    return class_map_of(versions.manifest(fingerprint))
