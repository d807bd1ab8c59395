"""The log of dataset versions: which one the dataset became when, and how a person names one of them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mlops_assets.dataset.schema import DATASET_VERSIONS

TABLE = "dataset_versions"

LATEST, PREVIOUS = "latest", "previous"
"""Names of the last version and of the one before."""

_FEWEST_DIGITS = 6


class UnknownVersionError(LookupError):
    """No version, or more than one, has the name that was given."""


def appended(log: pl.DataFrame, facts: Mapping[str, Any], now: dt.datetime) -> pl.DataFrame:
    """The log with the version that the dataset is now; unchanged where it was that already.

    Args:
        log: DATASET_VERSIONS.
        facts: `versions.manifest`.
        now: UTC.
    """
    if log.height and log["fingerprint"][-1] == facts["fingerprint"]:
        return log
    contents = facts["splits"].values()
    row = {
        "fingerprint": facts["fingerprint"],
        "made_at": now,
        "photos": sum(split["photos"] for split in contents),
        "boxes": sum(split["boxes"] for split in contents),
        "classes": len(facts["class_map"]),
        "code": facts["code_version"],
    }
    return pl.concat([log, pl.DataFrame([row], schema=DATASET_VERSIONS)])


def resolved(name: str, log: pl.DataFrame, stored: Sequence[str]) -> str:
    """The fingerprint that a person means by its first digits, `latest` or `previous`.

    Args:
        name: As given.
        log: DATASET_VERSIONS.
        stored: Fingerprints of all versions that there are.

    Raises:
        UnknownVersionError: None or several; the message names what there is.
    """
    made = log["fingerprint"].to_list()
    back = {LATEST: 1, PREVIOUS: 2}.get(name)
    if back is not None:
        if len(made) < back:
            raise UnknownVersionError(f"There is no {name} version: the log has {len(made)}")
        return str(made[-back])
    found = sorted({each for each in (*made, *stored) if each.startswith(name.lower())})
    if len(name) < _FEWEST_DIGITS or len(found) != 1:
        known = ", ".join(each[:12] for each in reversed(made)) or "none"
        raise UnknownVersionError(
            f"{name!r} names {len(found)} dataset versions; give {LATEST}, {PREVIOUS}, or at least {_FEWEST_DIGITS} "
            f"digits of one of: {known}"
        )
    return str(found[0])
