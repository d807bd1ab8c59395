"""By which code each partition of an asset was made last, read from Dagster's event log a bounded number at a time."""

from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CODE_VERSION_TAG

from sensors.component_decisions import WHOLE, Made

CHUNK = 500
"""Events read a tick and asset: well under a second."""


@dataclass
class Materialized:
    """What is known of one asset; `behind` while events are still to be read."""

    made: dict[str, Made] = field(default_factory=dict)
    behind: bool = False

    def as_json(self) -> dict[str, Any]:
        """For a sensor's cursor: partitions by code version, with their numbers."""
        by_version: dict[str, dict[str, int]] = {}
        for partition, made in self.made.items():
            by_version.setdefault(made.code_version or "", {})[partition] = made.number
        return by_version


def parse_materialized(content: dict[str, Any] | None) -> Materialized:
    """What `as_json` gave; nothing known where there is none."""
    return Materialized(
        {
            partition: Made(number, version or None)
            for version, partitions in (content or {}).items()
            for partition, number in partitions.items()
        }
    )


def catch_up(instance: dg.DagsterInstance, key: dg.AssetKey, known: Materialized, *, partitioned: bool) -> Materialized:
    """Read what has been materialised since, at most `CHUNK` events; partitions that were wiped are forgotten."""
    latest = _latest_numbers(instance, key, partitioned=partitioned)
    news = sorted(
        number for partition, number in latest.items() if number != known.made.get(partition, Made(-1, None)).number
    )
    made = {partition: entry for partition, entry in known.made.items() if partition in latest}
    if news:
        of_chunk = dg.AssetRecordsFilter(asset_key=key, storage_ids=news[:CHUNK])
        for record in instance.fetch_materializations(of_chunk, limit=CHUNK).records:
            event = record.asset_materialization
            if event is not None:
                tags = event.tags or {}
                made[event.partition or WHOLE] = Made(record.storage_id, tags.get(CODE_VERSION_TAG))
    return Materialized(made, behind=len(news) > CHUNK)


def _latest_numbers(instance: dg.DagsterInstance, key: dg.AssetKey, *, partitioned: bool) -> dict[str, int]:
    if not partitioned:
        records = instance.fetch_materializations(key, limit=1).records
        return {WHOLE: records[0].storage_id} if records else {}
    # The instance offers no such question itself; its storage answers it with one indexed query.
    storage = instance.event_log_storage
    return dict(storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION))
