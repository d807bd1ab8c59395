import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest

from mlops_assets.catalog.inventory import visit_inventory
from mlops_assets.catalog.schema import DETECTIONS, VISIT_INVENTORY
from mlops_assets.catalog.score import Agreement, ScoreInputError, score
from mlops_assets.use_case import InventoryRules

RACKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "racks"
NAMES = {0: "router", 1: "battery"}
TRUTH = {"day": pl.String, "enclosure_id": pl.String, "class": pl.String, "quantity": pl.Int64}


def inventory(*rows: tuple[str, int, int, int, str]) -> pl.DataFrame:
    """Rows of enclosure, day number, class_id, quantity, status."""
    return pl.DataFrame(
        [
            {
                "enclosure_id": enclosure,
                "visit_id": f"{enclosure}/{day}",
                "visited_on": dt.date(2026, 10, day),
                "class_id": class_id,
                "quantity": quantity,
                "status": status,
            }
            for enclosure, day, class_id, quantity, status in rows
        ],
        schema=VISIT_INVENTORY,
    )


def truth(*rows: tuple[int, str, str, int]) -> pl.DataFrame:
    days = [(f"2026-10-{day:02}", *rest) for day, *rest in rows]
    return pl.DataFrame(days, schema=TRUTH, orient="row")


def test_counts_follow_the_design_by_hand() -> None:
    found = inventory(("A", 5, 0, 2, "confirmed"), ("A", 5, 1, 1, "confirmed"), ("B", 5, 0, 1, "confirmed"))
    real = truth((5, "A", "router", 3), (5, "B", "router", 1), (5, "B", "battery", 1))
    result = score(found, real, None, NAMES).all_enclosures
    assert result.quantity == Agreement.of(3, 1, 2)
    assert result.quantity.precision == 3 / 4
    assert result.quantity.recall == 3 / 5
    assert result.quantity.f1 == pytest.approx(2 / 3)
    assert result.by_class == {"battery": Agreement.of(0, 1, 1), "router": Agreement.of(3, 0, 1)}
    assert result.macro_f1 == pytest.approx((0 + 6 / 7) / 2)
    assert (result.quantity_error, result.quantity_exact) == (0.5, 0.5)
    assert (result.enclosures, result.visits) == (2, 2)
    assert result.f1_low is not None
    assert result.f1_high is not None
    assert result.f1_low <= result.quantity.f1 <= result.f1_high


def test_unconfirmed_items_are_no_claim_and_shown_apart() -> None:
    found = inventory(("A", 5, 0, 2, "confirmed"), ("A", 6, 0, 2, "unconfirmed"), ("A", 6, 1, 1, "unconfirmed"))
    result = score(found, truth((5, "A", "router", 2), (6, "A", "router", 1)), None, NAMES).all_enclosures
    assert result.quantity == Agreement.of(2, 0, 1)
    assert (result.unconfirmed_items, result.unconfirmed_true) == (3, 1)


def test_items_on_no_photo_stay_missed_and_are_listed() -> None:
    real = truth((5, "A", "router", 1), (5, "A", "battery", 2))
    visible = real.filter(pl.col("class") == "router").drop("quantity")
    result = score(inventory(("A", 5, 0, 1, "confirmed")), real, visible, NAMES)
    assert result.all_enclosures.quantity == Agreement.of(1, 0, 2)
    assert result.invisible is not None
    assert [(i.enclosure_id, i.day, i.class_name, i.quantity) for i in result.invisible] == [
        ("A", "2026-10-05", "battery", 2)
    ]


def test_changes_match_exactly_or_not_at_all() -> None:
    found = inventory(
        *(("A", 5, 0, 1, "confirmed"), ("A", 5, 1, 1, "confirmed")),
        *(("A", 6, 0, 3, "confirmed"), ("A", 6, 1, 0, "removed")),
    )
    real = truth((5, "A", "router", 1), (5, "A", "battery", 1), (6, "A", "router", 2))
    assert score(found, real, None, NAMES).all_enclosures.changes == Agreement.of(1, 1, 1)


def test_enclosures_never_trained_on_are_scored_apart_and_unjudged_ones_left_out() -> None:
    found = inventory(("A", 5, 0, 1, "confirmed"), ("B", 5, 1, 1, "confirmed"), ("unjudged", 5, 1, 9, "confirmed"))
    result = score(found, truth((5, "A", "router", 1), (5, "B", "router", 1)), None, NAMES, never_trained={"B"})
    assert result.all_enclosures.quantity == Agreement.of(1, 1, 1)
    assert result.never_trained is not None
    assert result.never_trained.quantity == Agreement.of(0, 1, 1)
    assert result.never_trained.quantity.f1 == 0.0
    assert json.loads(json.dumps(result.as_dict()))["never_trained"]["enclosures"] == 1


def test_an_empty_prediction_has_no_precision_but_a_recall_of_zero() -> None:
    result = score(inventory(), truth((5, "A", "router", 1)), None, NAMES).all_enclosures
    assert (result.quantity.precision, result.quantity.recall, result.quantity_error) == (None, 0.0, None)


def test_what_cannot_be_compared_is_refused() -> None:
    found, real = inventory(("A", 5, 1, 1, "confirmed")), truth((5, "A", "router", 1))
    with pytest.raises(ScoreInputError, match=r"class ids \[1\]"):
        score(found, real, None, {0: "router"})
    with pytest.raises(ScoreInputError, match="no rows"):
        score(found, real.clear(), None, NAMES)
    with pytest.raises(ScoreInputError, match="twice"):
        score(found, pl.concat([real, real]), None, NAMES)
    with pytest.raises(ScoreInputError, match=r"visible lacks the columns \['class'\]"):
        score(found, real, real.drop("class"), NAMES)


def test_best_view_of_true_boxes_scores_on_racks_as_the_design_measured() -> None:
    if not (RACKS / "truth" / "boxes.csv").is_file():
        pytest.skip("shared/data/racks is not here")
    boxes = pl.read_csv(RACKS / "truth" / "boxes.csv", try_parse_dates=True)
    real = pl.read_csv(RACKS / "truth" / "inventory.csv", try_parse_dates=True)
    names = dict(enumerate(sorted(real["class"].unique())))
    photo_id = pl.concat_str(pl.col("day").dt.to_string("iso"), "enclosure_id", "file", separator="/")
    ids = pl.DataFrame({"class_id": list(names), "class": list(names.values())})
    detections = boxes.join(ids, on="class").select(
        photo_id.alias("photo_id"),
        pl.col("class_id").cast(pl.Int32),
        pl.lit(1.0).alias("confidence"),
        *(
            (pl.col(c) / pl.col(size)).alias(f"box_{c}")
            for c, size in zip("xywh", ["width", "height"] * 2, strict=True)
        ),
        pl.lit("truth").alias("model_version"),
    )
    photos = boxes.select(
        photo_id.alias("photo_id"),
        "enclosure_id",
        pl.col("day").dt.to_string("iso").alias("visit_id"),
        pl.col("day").alias("visited_on"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("captured_at"),
        pl.lit(True).alias("usable"),
    ).unique("photo_id")
    found = visit_inventory(detections.match_to_schema(DETECTIONS), photos, {}, InventoryRules())
    result = score(found, real, boxes, names)
    assert result.all_enclosures.quantity.f1 == pytest.approx(0.996, abs=0.0005)
    assert result.all_enclosures.changes.f1 == pytest.approx(0.973, abs=0.0005)
    assert result.invisible is not None
    assert sum(item.quantity for item in result.invisible) == 2
