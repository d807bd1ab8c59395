"""When a photo was taken, in UTC, wherever that was written: EXIF or a sidecar."""

import datetime as dt
from zoneinfo import ZoneInfo

_PLAUSIBLE_YEARS = range(1990, 2100)
"""Outside it the camera's clock was never set, or the field was filled with zeros."""


def to_utc(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Turn a photo's time into UTC; one without offset is local time in `zone`.

    Raises:
        ValueError: The year is outside 1990 to 2099.
    """
    if moment.year not in _PLAUSIBLE_YEARS:
        raise ValueError(f"{moment.year} is no plausible year for a photo")
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(dt.UTC)
