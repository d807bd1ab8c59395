"""What the benchmark of label errors plants is what it says."""

import datetime as dt

import numpy as np
import polars as pl

from benchmarks.planted_errors import FOLDS, fold_splits, plant
from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.labels.schema import ANNOTATIONS
from mlops_assets.monitoring.label_errors import overlaps

KEY = ["photo_id", *BOX_COLUMNS]


def annotations() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        {
            "photo_id": f"{number // 4:03}",
            "class_id": int(rng.integers(4)),
            "class_map_version": 4,
            "annotated_at": dt.datetime(2026, 10, 6, tzinfo=dt.UTC),
            **dict(zip(BOX_COLUMNS, (*rng.uniform(0.2, 0.8, 2), *rng.uniform(0.1, 0.3, 2)), strict=True)),
        }
        for number in range(200)
    ]
    return pl.DataFrame(rows, schema=ANNOTATIONS)


def test_five_per_cent_of_each_kind_and_the_rest_as_it_was() -> None:
    before = annotations()
    labels, dropped = plant(before, [0, 1, 2, 3])
    kinds = dict(labels["planted"].drop_nulls().value_counts().iter_rows())
    assert (dropped.height, kinds) == (10, {"swapped": 10, "badly_located": 10})
    boxes = labels.drop_nulls("class_id")
    assert boxes.height == 190
    right = boxes.filter(pl.col("planted").is_null())
    assert right.join(before, on=[*KEY, "class_id"], how="semi").height == right.height
    assert set(labels["photo_id"]) == set(before["photo_id"])
    swapped = boxes.filter(pl.col("planted") == "swapped").join(before, on=KEY, suffix="_before")
    assert swapped.height == 10
    assert (swapped["class_id"] != swapped["class_id_before"]).all()


def test_a_moved_box_still_overlaps_what_it_was_drawn_for() -> None:
    before = annotations()
    labels, _ = plant(before, [0, 1, 2, 3])
    for row in labels.filter(pl.col("planted") == "badly_located").to_dicts():
        own = before.filter(pl.col("photo_id") == row["photo_id"], pl.col("class_id") == row["class_id"])
        overlap = overlaps(np.array([[row[c] for c in BOX_COLUMNS]]), own.select(BOX_COLUMNS).to_numpy())
        assert 0.2 < overlap.max() < 0.5


def test_every_enclosure_is_once_unseen() -> None:
    photos = pl.DataFrame({"enclosure_id": [f"CAB-{n:02}" for n in range(20)]})
    folds = [fold_splits(photos, fold) for fold in range(FOLDS)]
    unseen = [enclosure for fold in folds for enclosure in fold.filter(pl.col("split") == "test")["enclosure_id"]]
    assert sorted(unseen) == photos["enclosure_id"].to_list()
    assert {fold.filter(pl.col("split") == "val").height for fold in folds} == {2}
