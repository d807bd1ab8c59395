"""What the ledger and the cleaned photos of a day must hold before anything is made of them."""

import polars as pl

from mlops_assets.expectations import between, not_null, one_of, true, unique
from mlops_assets.photos.erased import NOT_KEPT
from mlops_assets.photos.schema import STATUSES, VERDICTS
from mlops_assets.table_checks import CheckInputs, TableCheck
from resources.expectations import Expectation, Suite


def landed_against_ledger(inputs: CheckInputs) -> pl.DataFrame:
    """One row a landed file, from a listing of its own, with whether the ledger has a row for it."""
    from mlops_assets.photos.landing import pair

    uris = [entry.file.uri for entry in pair(inputs.photo_store.list_day(inputs.day))]
    frame = pl.DataFrame({"landing_uri": uris}, schema={"landing_uri": pl.String()})
    return frame.with_columns(in_ledger=pl.col("landing_uri").is_in(inputs.table["landing_uri"].implode()))


def _known_photos(inputs: CheckInputs) -> pl.DataFrame:
    accepted = inputs.other("raw_photos", same_day=True).filter(pl.col("status") == "accepted")["photo_id"]
    return inputs.table.with_columns(known=pl.col("photo_id").is_in(accepted.implode()))


def landed_with_reuse(inputs: CheckInputs) -> pl.DataFrame:
    """The day's accepted and duplicate photos, with the enclosure that each was landed for before, if another one."""
    from mlops_assets.photos.reuse import reused_photos

    raw = inputs.other("raw_photos", same_day=True)
    reused = reused_photos({inputs.day: raw}, {inputs.day: inputs.table})
    landed = raw.filter(pl.col("status").is_in(["accepted", "duplicate"]))
    return landed.join(reused.select("landing_uri", "reused_from", "match"), on="landing_uri", how="left")


_EXPLAINED = pl.col("status") == "quarantined"
_ACCEPTED = pl.col("status") == "accepted"

CHECKS = (
    TableCheck(
        "raw_photos",
        Suite("nothing_lost", (true("in_ledger", "every landed file has a row in the ledger"),), ("landing_uri",)),
        "Landed = accepted + duplicate + quarantined + erased, against a listing of its own.",
        daily=True,
        frame=landed_against_ledger,
    ),
    TableCheck(
        "raw_photos",
        Suite(
            "ledger",
            (
                unique("landing_uri"),
                *not_null("landing_uri", "status", "byte_size"),
                one_of("status", STATUSES),
                *(
                    Expectation(
                        "expect_column_values_to_not_be_null",
                        {"column": column},
                        f"{column} is given for what is quarantined",
                        where=_EXPLAINED,
                    )
                    for column in ("reason", "remedy")
                ),
                *(
                    Expectation(
                        "expect_column_values_to_not_be_null",
                        {"column": column},
                        f"{column} is given for what is accepted",
                        where=_ACCEPTED,
                    )
                    for column in ("photo_id", "enclosure_id", "visit_id", "width", "height", "format")
                ),
                Expectation(
                    "expect_column_values_to_be_unique",
                    {"column": "photo_id"},
                    "a photo is accepted once",
                    where=_ACCEPTED,
                ),
                *(
                    Expectation(
                        "expect_column_values_to_be_null",
                        {"column": column},
                        f"{column} is not kept of what was erased",
                        where=pl.col("status") == "erased",
                    )
                    for column in NOT_KEPT
                ),
                between("latitude", -90, 90, "latitude in degrees"),
                between("longitude", -180, 180, "longitude in degrees"),
            ),
            ("landing_uri",),
        ),
        "Every row is complete for its status and every accepted photo occurs once.",
        daily=True,
    ),
    TableCheck(
        "clean_photos",
        Suite(
            "cleaned",
            (
                unique("photo_id"),
                *not_null("photo_id", "uri", "verdict"),
                one_of("verdict", VERDICTS),
                between("brightness", 0, 255, "brightness is a grey level"),
                between("sharpness", 0, None, "sharpness is a variance"),
                true("known", "every row is an accepted photo of the day"),
                Expectation(
                    "expect_column_values_to_not_be_null",
                    {"column": "retake_advice"},
                    "a rejected photo tells the technician what to do",
                    where=pl.col("verdict") == "rejected",
                ),
            ),
            ("photo_id",),
        ),
        "One complete row an accepted photo.",
        daily=True,
        frame=_known_photos,
    ),
    TableCheck(
        "clean_photos",
        Suite(
            "no_photo_reused",
            (
                Expectation(
                    "expect_column_values_to_be_null",
                    {"column": "reused_from"},
                    "no photo was used for another enclosure before; ask the technician whether the visit took place",
                    severity="warn",
                ),
            ),
            ("enclosure_id", "technician", "match", "landing_uri"),
        ),
        "No photo of the day is one that was landed for another enclosure before, byte for byte or as the same shot.",
        daily=True,
        blocking=False,
        frame=landed_with_reuse,
    ),
)
