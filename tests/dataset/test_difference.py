import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.difference import as_markdown, difference
from mlops_assets.dataset.schema import TRAINING_DATASET

NAMES = {0: "router", 1: "battery"}


def rows(*photos, split="train", sha="h", version=1):
    """TRAINING_DATASET from (photo_id, [(class_id, x)]); boxes of side 0.2."""
    return pl.DataFrame(
        [
            {
                "photo_id": photo,
                "enclosure_id": photo[0],
                "split": split,
                "photo_sha256": sha,
                "class_map_version": version,
            }
            | ({"class_id": box[0], "box_x": box[1], "box_y": 0.5, "box_w": 0.2, "box_h": 0.2} if box else {})
            for photo, boxes in photos
            for box in (boxes or [None])
        ],
        schema=TRAINING_DATASET,
    )


def changed(before, after, old=NAMES, new=NAMES):
    found = difference(before, after, old, new)
    return found, {name: count for name, count in found.counts().items() if count}


def test_nothing_differs_whatever_the_order():
    table = rows(("a", [(0, 0.2), (0, 0.2), (1, 0.6)]), ("b", []))
    found, counts = changed(table, table.reverse())
    assert (counts, found.is_empty()) == ({}, True)
    assert "The same photos, boxes and classes." in as_markdown(found, NAMES, before="x", after="y")


def test_photos_and_boxes_that_came_and_went():
    found, counts = changed(rows(("a", [(0, 0.2)]), ("b", [])), rows(("a", [(0, 0.2)]), ("c", [(1, 0.3), (1, 0.7)])))
    assert counts == {"photos_added": 1, "photos_removed": 1, "boxes_added": 2}
    assert found.photos.select("photo_id", "change").rows() == [("c", "added"), ("b", "removed")]


def test_a_box_that_moved_or_was_relabelled_is_one_changed_box():
    before = rows(("a", [(0, 0.2), (0, 0.8), (1, 0.5)]))
    found, counts = changed(before, rows(("a", [(0, 0.22), (1, 0.8), (1, 0.5), (0, 0.35)])))
    assert counts == {"photos_changed": 1, "boxes_added": 1, "boxes_changed": 2}
    told = {(row["class_id"], row["before_class_id"], row["box_x"]) for row in found.boxes.to_dicts()}
    assert told == {(0, 0, 0.22), (1, 0, 0.8), (0, None, 0.35)}


def test_boxes_that_are_drawn_twice_are_counted():
    _, counts = changed(rows(("a", [(0, 0.2)])), rows(("a", [(0, 0.2), (0, 0.2), (0, 0.2)])))
    assert counts == {"photos_changed": 1, "boxes_added": 2}


def test_a_photo_is_changed_by_its_bytes_split_and_what_was_looked_for():
    before = rows(("a", []), ("b", []))
    for after, what in (
        (rows(("a", []), ("b", []), sha="other"), "bytes"),
        (rows(("a", []), ("b", []), split="test"), "split"),
        (rows(("a", []), ("b", []), version=2, sha="x"), "bytes, classes that were looked for"),
        (rows(("a", [(0, 0.1)]), ("b", [(0, 0.1)])), "boxes"),
    ):
        found, counts = changed(before, after)
        assert counts["photos_changed"] == 2
        assert set(found.photos["what"]) == {what}


def test_classes_that_came_went_or_were_renamed_and_the_words_for_a_person():
    before, after = rows(("a1", [(0, 0.2)])), rows(("a1", [(0, 0.2)]), ("b1", [(2, 0.2)]), ("b2", []))
    found, counts = changed(before, after, {0: "router", 1: "battery"}, {0: "gateway", 2: "fuse"})
    assert counts == {
        "photos_added": 2,
        "boxes_added": 1,
        **dict.fromkeys(("classes_added", "classes_removed", "classes_changed"), 1),
    }
    text = as_markdown(found, {0: "gateway", 1: "battery", 2: "fuse"}, before="1" * 64, after="2" * 64, most_rows=1)
    assert text.startswith("`111111111111` → `222222222222`")
    for line in (
        "| photos | 2 | 0 | 0 |",
        "| train | 2 | 0 | 0 |",
        "| fuse (2) | 1 | 0 | 0 |",
        "| 0 | changed | router | gateway |",
        "| 1 | removed | battery |  |",
        "| b1 | b | train | added |  |",
        "… and 1 further photos.",
    ):
        assert line in text, text


photo = st.tuples(
    st.sampled_from("abcd"), st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.2, 0.25, 0.5, 0.8])), max_size=4)
)
photos = st.lists(photo, max_size=4, unique_by=lambda each: each[0])


@settings(deadline=None, max_examples=80)
@given(photos, photos)
def test_what_is_told_leads_from_one_version_to_the_other(before, after):
    first, second = rows(*before), rows(*after)
    found = difference(first, second, NAMES, NAMES)
    counts = found.counts()
    boxes = [table["class_id"].count() for table in (first, second)]
    assert boxes[0] + counts["boxes_added"] - counts["boxes_removed"] == boxes[1]
    ids = [set(table["photo_id"]) for table in (first, second)]
    told = {change: set(found.photos.filter(pl.col("change") == change)["photo_id"]) for change in ("added", "removed")}
    assert (told["added"], told["removed"]) == (ids[1] - ids[0], ids[0] - ids[1])
    back = difference(second, first, NAMES, NAMES).counts()
    assert (back["boxes_added"], back["boxes_changed"]) == (counts["boxes_removed"], counts["boxes_changed"])
    touched = set(found.boxes["photo_id"])
    key = ["class_id", *BOX_COLUMNS]
    for name in ids[0] & ids[1]:
        same = (
            first.filter(photo_id=name).select(key).sort(key).equals(second.filter(photo_id=name).select(key).sort(key))
        )
        assert same == (name not in touched)
