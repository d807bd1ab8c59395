import polars as pl
import pytest

from mlops_assets.dataset.building import (
    BACKGROUND_SURPLUS,
    CLASS_NOT_LOOKED_FOR,
    PROPOSED_CLASS,
    UnassignedEnclosureError,
    UntrainableDatasetError,
    build_dataset,
    check_trainable,
    provisional_classes,
    select_photos,
    with_photo_hashes,
)
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS, TRAINING_DATASET
from mlops_assets.dataset.shots import with_shots
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES
from mlops_assets.use_case import BackgroundRules

SPLITS = pl.DataFrame(
    [(e, e, s) for e, s in {"T1": "train", "T2": "train", "V": "val", "X": "test"}.items()],
    schema=SPLIT_ASSIGNMENTS,
    orient="row",
)


def classes(*statuses):
    rows = [{"class_id": n, "class_name": f"class {n}", "status": status} for n, status in enumerate(statuses)]
    return pl.DataFrame(rows, schema=EQUIPMENT_CLASSES)


def labels(photos, near=None):
    """Annotations and photos from {photo_id: (enclosure_id, class ids, class_map_version)}."""
    rows = [
        {"photo_id": photo_id, "class_id": c, "source": "s", "class_map_version": version}
        | dict.fromkeys(("box_x", "box_y"), None if c is None else 0.5)
        | dict.fromkeys(("box_w", "box_h"), None if c is None else 0.1)
        for photo_id, (_, class_ids, version) in photos.items()
        for c in class_ids or [None]
    ]
    homes = [
        {"photo_id": photo_id, "enclosure_id": enclosure, "near_duplicate_of": (near or {}).get(photo_id)}
        for photo_id, (enclosure, *_) in photos.items()
    ]
    schema = {"photo_id": pl.String, "enclosure_id": pl.String, "near_duplicate_of": pl.String}
    return pl.DataFrame(rows, schema=ANNOTATIONS), with_shots(pl.DataFrame(homes, schema=schema))


def left_out(photos, *statuses, near=None):
    selected = select_photos(*labels(photos, near), classes(*statuses), SPLITS)
    return dict(selected.select("photo_id", "left_out").iter_rows())


def test_boxes_of_active_classes_with_their_split():
    dataset = build_dataset(
        *labels({"a": ("T1", [0, 0], 1), "b": ("V", [0], 1), "c": ("X", [], 1)}), classes("active"), SPLITS
    )
    assert dataset.schema == TRAINING_DATASET
    assert dataset.select("photo_id", "split", "class_id", "class_map_version").rows() == [
        ("c", "test", None, 1),
        ("a", "train", 0, 1),
        ("a", "train", 0, 1),
        ("b", "val", 0, 1),
    ]


def test_photos_that_show_a_proposed_class_are_no_background_for_it():
    photos = {"a": ("T1", [0, 1], 2), "b": ("T2", [0], 2), "c": ("V", [1], 2), "d": ("X", [0, 1], 2)}
    assert left_out(photos, "active", "proposed") == {"a": PROPOSED_CLASS, "b": None, "c": PROPOSED_CLASS, "d": None}
    photos |= {f"o{n}": ("T2", [0], 2) for n in range(9)}
    assert set(left_out(photos, "active", "deprecated").values()) == {None}
    test_rows = build_dataset(*labels(photos), classes("active", "proposed"), SPLITS).filter(split="test")
    assert test_rows["class_id"].to_list() == [0]


def test_photos_labelled_before_a_class_existed_are_left_out_where_the_enclosure_shows_it():
    photos = {
        "old_there": ("T1", [0], 1),
        "new_there": ("T1", [0, 1], 2),
        "old_elsewhere": ("T2", [0], 1),
        "old_test": ("X", [0], 1),
        "new_test": ("X", [1], 2),
    }
    assert left_out(photos, "active", "active") == {
        "old_there": CLASS_NOT_LOOKED_FOR,
        "new_there": None,
        "old_elsewhere": None,
        "old_test": None,
        "new_test": None,
    }
    dataset = build_dataset(*labels(photos), classes("active", "active"), SPLITS)
    assert dataset.filter(photo_id="old_test")["class_map_version"].to_list() == [1]


def test_train_background_stays_within_a_tenth():
    photos = {f"o{n:02d}": ("T1", [0], 1) for n in range(18)} | {f"b{n}": ("T2", [], 1) for n in range(5)}
    photos |= {f"v{n}": ("V", [], 1) for n in range(5)}
    reasons = left_out(photos, "active")
    kept = [n for n in range(5) if reasons[f"b{n}"] is None]
    assert len(kept) == 2
    assert {reasons[f"b{n}"] for n in range(5) if n not in kept} == {BACKGROUND_SURPLUS}
    assert {reasons[f"v{n}"] for n in range(5)} == {None}, "val and test are left alone"
    none = select_photos(*labels(photos), classes("active"), SPLITS, BackgroundRules(min_share=0, max_share=0))
    assert none.filter(left_out=BACKGROUND_SURPLUS).height == 5


def test_a_shot_stands_in_one_split_only_and_test_keeps_it():
    photos = {"t1": ("T1", [0], 1), "t2": ("T2", [0], 1), "v": ("V", [0], 1), "x": ("X", [0], 1), "o": ("T1", [0], 1)}
    train, val = "the same shot stands in test", "the same shot stands in val"
    assert left_out(photos, "active", near={"t1": "x", "v": "x"}) == {
        "t1": train,
        "v": train,
        **dict.fromkeys(("t2", "x", "o")),
    }
    assert left_out(photos, "active", near={"t2": "v"}) == {"t2": val, **dict.fromkeys(("t1", "v", "x", "o"))}
    # One that is not labelled, or was rejected, connects two that are.
    assert left_out(photos, "active", near={"t1": "rejected", "x": "rejected"})["t1"] == train
    assert set(left_out(photos, "active", near={"t1": "t2", "o": "t1"}).values()) == {None}
    # A val photo that is left out for what it shows does not stand in val.
    hidden = photos | {"v": ("V", [0, 1], 2)}
    assert left_out(hidden, "active", "proposed", near={"t2": "v"})["t2"] is None


def test_hashes_of_the_kept_bytes_are_filled_in_where_they_are_known():
    dataset = build_dataset(*labels({"a": ("T1", [0, 0], 1), "b": ("V", [0], 1)}), classes("active"), SPLITS)
    assert dataset["photo_sha256"].null_count() == 3
    filled = with_photo_hashes(dataset, pl.DataFrame({"photo_id": ["a", "c"], "photo_sha256": ["ha", "hc"]}))
    assert filled.schema == TRAINING_DATASET
    assert filled.select("photo_id", "photo_sha256").rows() == [("a", "ha"), ("a", "ha"), ("b", None)]


def test_an_enclosure_without_a_split_is_an_error():
    with pytest.raises(UnassignedEnclosureError, match="1 labelled enclosures have no split, NEW first"):
        build_dataset(*labels({"a": ("NEW", [0], 1)}), classes("active"), SPLITS)


def test_each_active_class_must_be_learnable():
    known = classes("active", "active", "proposed")
    dataset = build_dataset(*labels({"a": ("T1", [0], 2), "v": ("V", [0, 1], 2)}), known, SPLITS)
    with pytest.raises(UntrainableDatasetError, match=r"No train box of class 1 \(1\)"):
        check_trainable(dataset, known)
    check_trainable(dataset, classes("active"))
    with pytest.raises(UntrainableDatasetError, match="No class is active"):
        check_trainable(dataset, classes("proposed"))
    with pytest.raises(UntrainableDatasetError, match="No validation photo"):
        check_trainable(dataset.filter(split="train"), classes("active"))


def test_classes_without_test_boxes_are_provisional():
    known = classes("active", "active")
    dataset = build_dataset(*labels({"a": ("T1", [0, 1], 2), "x": ("X", [1], 2)}), known, SPLITS)
    assert provisional_classes(dataset, known) == [0]
