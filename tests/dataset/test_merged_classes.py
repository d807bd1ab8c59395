"""Merged classes in datasets: their boxes are the other class's, and it was looked for as long as they were."""

import polars as pl

from mlops_assets.dataset.building import CLASS_NOT_LOOKED_FOR, build_dataset, select_photos
from mlops_assets.dataset.schema import SPLIT_ASSIGNMENTS
from mlops_assets.dataset.versions import manifest
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES

SPLITS = pl.DataFrame(
    [{"enclosure_id": "T", "group": "T", "split": "train"}, {"enclosure_id": "X", "group": "X", "split": "test"}],
    schema=SPLIT_ASSIGNMENTS,
)


def classes(*, merged: bool) -> pl.DataFrame:
    """0 and 2 are one thing, if merged; 1 is another."""
    rows = [
        {"class_id": 0, "class_name": "psu", "status": "active", "known_since": 0},
        {"class_id": 1, "class_name": "fan", "status": "active", "known_since": 1},
        {"class_id": 2, "class_name": "power supply", "status": "active", "known_since": 2},
    ]
    if merged:
        rows[0] |= {"status": "merged", "merged_into": 2}
        rows[2] |= {"known_since": 0}
    return pl.DataFrame(rows, schema=EQUIPMENT_CLASSES)


def labels(**photos: tuple[str, int, list[int]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [
        {"photo_id": p, "class_id": c, "class_map_version": v, "box_x": 0.5, "box_y": 0.5, "box_w": 0.1, "box_h": 0.1}
        for p, (_, v, found) in photos.items()
        for c in found
    ]
    homes = [{"photo_id": p, "enclosure_id": home} for p, (home, *_) in photos.items()]
    return pl.DataFrame(rows, schema=ANNOTATIONS), pl.DataFrame(homes)


def test_boxes_of_a_merged_class_train_the_other_and_leave_no_photo_out() -> None:
    annotations, photos = labels(a=("T", 2, [0, 1]), b=("T", 3, [2]), x=("X", 2, [0]))
    known = classes(merged=True)
    assert set(select_photos(annotations, photos, known, SPLITS)["left_out"]) == {None}
    dataset = build_dataset(annotations, photos, known, SPLITS)
    assert dataset.select("photo_id", "class_id").rows() == [("x", 2), ("a", 1), ("a", 2), ("b", 2)]


def test_a_photo_on_which_the_merged_class_was_looked_for_is_kept() -> None:
    annotations, photos = labels(old=("T", 2, [1]), new=("T", 3, [2]))
    apart = select_photos(annotations, photos, classes(merged=False), SPLITS)
    assert dict(apart.select("photo_id", "left_out").iter_rows()) == {"old": CLASS_NOT_LOOKED_FOR, "new": None}
    merged = select_photos(annotations, photos, classes(merged=True), SPLITS)
    assert set(merged["left_out"]) == {None}


def test_the_manifest_says_what_was_merged() -> None:
    annotations, photos = labels(a=("T", 2, [0, 1]))
    dataset = build_dataset(annotations, photos, classes(merged=True), SPLITS)
    links = ClassLinks.of(classes(merged=True))
    facts = manifest(dataset, {1: "fan", 2: "power supply"}, "code", links)
    assert facts["class_links"] == {"merged_into": {"0": 2}, "known_since": {"2": 0}}
    assert ClassLinks.parse(facts) == links
    assert ClassLinks.of(classes(merged=False)) == NO_LINKS
    assert ClassLinks.parse(manifest(dataset, {}, "code")) == NO_LINKS
