import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import LEFT, RIGHT, Label, Prediction, predicted, random_snapshot, truth

from mlops_assets.detector.matching import Matches, match_predictions
from mlops_assets.detector.schema import DETECTOR_SLICES
from mlops_assets.detector.slices import MEMBERSHIP, macro_ap50, photo_facts, select_photos, slice_results, slices_of
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS
from resources.tables import Tables

FACTS = {
    "photo_id": pl.String,
    "box_area": pl.Float64,
    "brightness": pl.Float64,
    "sharpness": pl.Float64,
    "camera": pl.String,
    "captured_at": pl.Datetime("us", "UTC"),
}
BUDAPEST = ZoneInfo("Europe/Budapest")


def facts(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=FACTS)


def slices(membership: pl.DataFrame, kind: str) -> dict[str, str]:
    chosen = membership.filter(pl.col("kind") == kind)
    return dict(chosen.select("photo_id", "slice").iter_rows())


def test_the_lowest_quarter_is_dark_and_what_is_not_known_is_unknown() -> None:
    rows: list[dict[str, object]] = [{"photo_id": f"p{i}", "brightness": 10.0 * i} for i in range(8)]
    membership = slices_of(facts([*rows, {"photo_id": "q"}]), BUDAPEST)
    assert membership.schema == MEMBERSHIP
    light = slices(membership, "light")
    assert [photo for photo, name in light.items() if name == "dark"] == ["p0", "p1"]
    assert light["q"] == "unknown"
    definition = membership.filter((pl.col("kind") == "light") & (pl.col("slice") == "dark"))["definition"][0]
    assert definition == "brightness below 17.5, the lowest quarter"
    assert set(slices(membership, "focus").values()) == {"unknown"}


def test_photos_that_are_all_alike_are_none_of_them_dark() -> None:
    rows: list[dict[str, object]] = [{"photo_id": f"p{i}", "brightness": 80.0} for i in range(8)]
    assert set(slices(slices_of(facts(rows), BUDAPEST), "light").values()) == {"lit"}


def test_a_month_begins_where_the_use_case_is() -> None:
    late = dt.datetime(2026, 10, 31, 23, 30, tzinfo=dt.UTC)
    membership = slices_of(
        facts([{"photo_id": "p", "captured_at": late, "camera": "Pixel"}, {"photo_id": "q"}]), BUDAPEST
    )
    assert slices(membership, "month") == {"p": "2026-11", "q": "unknown"}
    assert slices(membership, "camera") == {"p": "Pixel", "q": "unknown"}


def test_facts_are_read_for_the_photos_of_the_snapshot_only(tmp_path: Path) -> None:
    tables = Tables(root=str(tmp_path))
    labels = truth([("A-1", 0, LEFT), ("A-1", 0, (0.5, 0.5, 0.1, 0.1)), ("B-1", None, None), ("C-1", 0, LEFT)])
    for day, photo in (("2026-10-05", "A-1"), ("2026-10-06", "Z-1")):
        measured = {"photo_id": [photo, "B-1"], "brightness": [90.0, 70.0], "sharpness": [7.0, 8.0]}
        missing = [name for name in CLEAN_PHOTOS if name not in measured]
        frame = pl.DataFrame(measured).with_columns(pl.lit(None, CLEAN_PHOTOS[name]).alias(name) for name in missing)
        tables.write("clean_photos", frame.select(CLEAN_PHOTOS.names()), CLEAN_PHOTOS, day)
        landed = {"photo_id": [photo, photo], "camera": ["Pixel", None], "status": ["accepted", "duplicate"]}
        missing = [name for name in RAW_PHOTOS if name not in landed]
        frame = pl.DataFrame(landed).with_columns(pl.lit(None, RAW_PHOTOS[name]).alias(name) for name in missing)
        tables.write("raw_photos", frame.select(RAW_PHOTOS.names()), RAW_PHOTOS, day)
    found = {row["photo_id"]: row for row in photo_facts(tables, labels).iter_rows(named=True)}
    assert sorted(found) == ["A-1", "B-1", "C-1"]
    assert (found["A-1"]["brightness"], found["A-1"]["camera"]) == (90.0, "Pixel")
    assert found["A-1"]["box_area"] == pytest.approx((0.04 + 0.01) / 2)
    assert (found["B-1"]["box_area"], found["C-1"]["brightness"]) == (None, None)


def results(matches: Matches, membership: pl.DataFrame) -> dict[str, dict[str, object]]:
    table = slice_results(
        matches, membership, {0: 0.5, 1: 0.5}, model_version="1", class_ids=[0], min_enclosures=5, samples=100
    )
    assert table.schema == DETECTOR_SLICES
    return {row["slice"]: row for row in table.iter_rows(named=True)}


def test_a_slice_where_the_model_is_blind_shows_and_a_small_one_is_not_judgeable() -> None:
    labels: list[Label] = [(f"E{i:02}-1", 0, LEFT) for i in range(40)]
    found: list[Prediction] = [(photo, 0, 0.9, LEFT if int(photo[1:3]) >= 10 else RIGHT) for photo, _, _ in labels]
    rows: list[dict[str, object]] = [
        {"photo_id": photo, "brightness": float(i), "camera": "old" if i > 35 else "new"}
        for i, (photo, _, _) in enumerate(labels)
    ]
    membership = slices_of(facts(rows), BUDAPEST)
    rows_of = results(match_predictions(truth(labels), predicted(found), [0, 1]), membership)
    assert (rows_of["dark"]["ap50"], rows_of["dark"]["recall"], rows_of["dark"]["photos"]) == (0.0, 0.0, 10)
    assert rows_of["lit"]["ap50"] == pytest.approx(1.0)
    assert rows_of["dark"]["judgeable"]
    assert rows_of["new"]["ap50_low"] < rows_of["new"]["ap50"] < rows_of["new"]["ap50_high"]
    assert (rows_of["old"]["judgeable"], rows_of["old"]["photos"], rows_of["old"]["enclosures"]) == (False, 4, 4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 50), st.data())
def test_a_part_of_the_matches_is_the_matches_of_the_part(seed: int, data: st.DataObject) -> None:
    labels, found = random_snapshot(seed)
    matches = match_predictions(truth(labels), predicted(found), [0, 1, 2])
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(matches.photos), max_size=len(matches.photos))))
    kept = {photo for photo, wanted in zip(matches.photos, chosen, strict=True) if wanted}
    part = select_photos(matches, chosen)
    alone = match_predictions(
        truth([row for row in labels if row[0] in kept]), predicted([row for row in found if row[0] in kept]), [0, 1, 2]
    )
    assert (part.photos, part.enclosures) == (alone.photos, alone.enclosures)
    assert macro_ap50(part) == (None if macro_ap50(alone) is None else pytest.approx(macro_ap50(alone)))
    for class_id, expected in alone.classes.items():
        assert np.array_equal(part.classes[class_id].hit, expected.hit)
        assert np.array_equal(part.classes[class_id].photo, expected.photo)
        assert np.array_equal(part.classes[class_id].labels, expected.labels)
