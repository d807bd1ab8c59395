"""How far the system has come, read from its tables and its instance; the demo waits on these questions."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl
from upath import UPath

from mlops_assets.catalog.schema import DETECTIONS
from mlops_assets.detector.champion import Champion, latest_champion, parse_class_map
from mlops_assets.detector.schema import CHAMPION_DETECTOR, DETECTOR_WEIGHTS
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES, LABEL_QUARANTINE
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase
from resources.locations import location
from resources.settings import Settings
from resources.tables import Tables

DAY_ASSETS = ("raw_photos", "clean_photos", "detections")


class State:
    """Tables and materialisations of one use case."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, use_case: UseCase) -> None:
        self.instance = instance
        self.settings = settings
        self.use_case = use_case
        self.places = settings.places(use_case.name)
        self.tables = Tables(root=self.places.store)

    def table(self, name: str) -> pl.DataFrame:
        """A table's last version, all days of a daily one."""
        if name in DAY_ASSETS:
            return self.tables.read_days(name, SCHEMAS[name])
        return self.tables.read(name, SCHEMAS[name])

    def champion(self) -> Champion | None:
        """What serves."""
        return latest_champion(self.tables)

    def materialized_at(self, asset: str, partition: str | None = None) -> float:
        """When an asset was last materialised, seconds since 1970; 0 if never."""
        key = dg.AssetKey([self.use_case.name, asset])
        partitions = [partition] if partition else None
        found = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions), limit=1
        )
        return found.records[0].timestamp if found.records else 0.0

    @property
    def drop(self) -> UPath:
        """Where annotators leave labels."""
        return location(self.places.labels)

    def has_learnt(self) -> bool:
        """Whether every dropped label is taken in, every active class decided on and every day looked at."""
        return self._labels_imported() and self._classes_decided() and self.catalogue_follows()

    def last_decision(self) -> str:
        """The promotion's outcome in a sentence."""
        decisions = self.tables.read("champion_detector", CHAMPION_DETECTOR)
        if decisions.is_empty():
            return "No detector was trained yet"
        last = decisions.row(-1, named=True)
        if last["promoted"]:
            return f"Version {last['model_version']} is the champion"
        failed = "; ".join(reason for reason in last["reasons"] if "failed" in reason)
        return f"Version {last['model_version']} was refused ({failed}); champion: {last['champion_version'] or 'none'}"

    def catalogue_follows(self) -> bool:
        """Whether every day was looked at with the champion, and the catalogue was written after that."""
        champion = self.champion()
        if champion is None:
            return True  # refused: there is nothing to look with, which the summary says
        found = self.tables.read_days("detections", DETECTIONS)
        current = set(found["model_version"]) == {champion.version}
        looked_at = max(self.materialized_at("detections", day) for day in found["day"].unique()) if current else 0.0
        return current and self.materialized_at("catalog_pages") > looked_at

    def _labels_imported(self) -> bool:
        imported = self.materialized_at("equipment_classes")
        newest = max(
            (_arrived_at(info) for info in self.drop.fs.find(self.drop.path, detail=True).values()), default=0.0
        )
        known = self.tables.read("annotations", ANNOTATIONS).height
        return imported > newest and known + self.tables.read("label_quarantine", LABEL_QUARANTINE).height > 0

    def _classes_decided(self) -> bool:
        classes = self.tables.read("equipment_classes", EQUIPMENT_CLASSES)
        active = set(classes.filter(pl.col("status") == "active")["class_id"])
        weights = self.tables.read("detector_weights", DETECTOR_WEIGHTS)
        decisions = self.tables.read("champion_detector", CHAMPION_DETECTOR)
        if not active or weights.is_empty() or decisions.is_empty():
            return False
        trained = parse_class_map(weights.item(0, "class_map")).keys()
        return active <= trained and weights.item(0, "model_version") == decisions.item(-1, "model_version")


def _arrived_at(info: Mapping[str, Any]) -> float:
    """When a file came, seconds since 1970: a local copy keeps the time at which the original was changed."""
    stamp = info["LastModified"] if "LastModified" in info else info["created"]
    return float(stamp.timestamp() if isinstance(stamp, dt.datetime) else stamp)
