"""The days that photos are landed on."""

import dagster as dg

from mlops_assets.use_case import UseCase

DAYS = dg.DailyPartitionsDefinition(start_date="2020-01-01", timezone="Europe/Budapest")
"""Stands in the decorators of day assets; `days_of` puts the use case's own first day and time zone in its place."""


def days_of(use_case: UseCase) -> dg.DailyPartitionsDefinition:
    """Days of one use case, from its first day to yesterday in its time zone."""
    return dg.DailyPartitionsDefinition(start_date=use_case.start.isoformat(), timezone=use_case.timezone)
