"""What happens by the clock."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:  # Dagster exports neither name
    from dagster._core.definitions.partitions.partitioned_schedule import UnresolvedPartitionedAssetScheduleDefinition

    from mlops_assets.jobs import AssetJob

INGESTION_HOUR = 2
"""Hour of the day, in the use case's time zone, at which yesterday's photos are taken in."""


def nightly_ingestion(
    ingest_day: "AssetJob",
) -> "dg.ScheduleDefinition | UnresolvedPartitionedAssetScheduleDefinition":
    """Yesterday's day job, every night; running from the start."""
    return dg.build_schedule_from_partitioned_job(
        ingest_day,
        name="nightly_ingestion",
        description="Takes in yesterday's photos; the catalogue follows by condition.",
        hour_of_day=INGESTION_HOUR,
        minute_of_hour=0,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
