import datetime as dt
import json
import os
from pathlib import Path

import polars as pl
import pytest
from upath import UPath

from mlops_assets.labels.drop_state import drop_digest
from mlops_assets.labels.importing import import_labels
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES, LABEL_QUARANTINE
from mlops_assets.labels.vocabulary import equipment_classes
from mlops_assets.use_case import KnownClass, NewClassRules

NOW = dt.datetime(2026, 10, 9, tzinfo=dt.UTC)
RACKS = Path(__file__).parents[2].parent / "shared" / "data" / "racks"
PHOTOS = pl.DataFrame(
    [(f"p{n}", f"E{n // 2}", f"/landing/2026-10-05/E{n // 2}/IMG_{n}.jpg", 1280, 960) for n in range(6)],
    schema={
        "photo_id": pl.String,
        "enclosure_id": pl.String,
        "landing_uri": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
    },
    orient="row",
)
NO_ANNOTATIONS = pl.DataFrame(schema=ANNOTATIONS)
NO_CLASSES = pl.DataFrame(schema=EQUIPMENT_CLASSES)


def read(drop, previous=NO_ANNOTATIONS, known=NO_CLASSES, declared=()):
    return import_labels(drop, photos=PHOTOS, previous=previous, known_classes=known, declared=declared, now=NOW)


def put(path, content, at):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    os.utime(path, (at, at))


def yolo(drop, entry, labels, names, at=1_000):
    put(drop / entry / "classes.txt", "\n".join(names), at)
    for file, text in labels.items():
        put(drop / entry / "labels" / f"{file}.txt", text, at)


def task(file, created_at, *names, size=(1280, 960)):
    value = {"x": 10, "y": 10, "width": 10, "height": 10}
    result = [
        {
            "type": "rectanglelabels",
            "original_width": size[0],
            "original_height": size[1],
            "value": {**value, "rectanglelabels": [name]},
        }
        for name in names
    ]
    return {
        "data": {"image": f"/data/local-files/?d={file}"},
        "annotations": [{"created_at": created_at, "result": result}],
    }


def label_studio(drop, name, tasks, at=2_000):
    put(drop / name, json.dumps(tasks), at)


BOX = "0 0.5 0.5 0.2 0.2\n"


def test_a_drop_becomes_annotations(tmp_path):
    yolo(tmp_path, "first", {"E0/IMG_0": BOX, "E0/IMG_1": ""}, ["battery"])
    result = read(tmp_path)
    assert result.annotations.schema == ANNOTATIONS
    assert result.annotations.select("photo_id", "class_id", "class_name", "box_w").rows() == [
        ("p0", 0, "battery", pytest.approx(0.2)),
        ("p1", None, None, None),
    ]
    assert result.annotations["source"][0] == "first/labels/E0/IMG_0.txt"
    assert result.annotations["annotated_at"][0] == dt.datetime.fromtimestamp(1_000, tz=dt.UTC)
    assert result.quarantine.is_empty()
    assert result.summary["empty_photos"] == 1


def test_a_missing_drop_is_an_empty_one(tmp_path):
    result = read(tmp_path / "none")
    assert (result.annotations.height, result.quarantine.schema) == (0, LABEL_QUARANTINE)
    assert drop_digest(tmp_path / "none") == drop_digest(tmp_path)


def test_the_version_counts_the_classes_known_when_the_entry_was_read_and_stays(tmp_path):
    declared = (KnownClass(name="fan"),)
    yolo(tmp_path, "b", {"E0/IMG_0": BOX}, ["battery"], at=1_000)
    first = read(tmp_path, declared=declared)
    assert first.annotations.select("class_id", "class_map_version").rows() == [(1, 2)]
    known = equipment_classes(first.annotations, PHOTOS, NO_CLASSES, declared, NewClassRules())
    label_studio(tmp_path, "a.json", [task("E1/IMG_2.jpg", "2026-10-08T08:00:00Z", "Meter", "BATTERY")])
    second = read(tmp_path, first.annotations, known, declared)
    assert second.annotations.select("photo_id", "class_id", "class_map_version").rows() == [
        ("p0", 1, 2),
        ("p2", 1, 3),
        ("p2", 2, 3),
    ]
    fresh = read(tmp_path, declared=declared)
    assert fresh.annotations.equals(second.annotations)
    # A box that moved was looked at again, with today's classes in mind.
    yolo(tmp_path, "b", {"E0/IMG_0": "0 0.4 0.5 0.2 0.2\n"}, ["battery"], at=1_000)
    third = read(
        tmp_path, second.annotations, equipment_classes(second.annotations, PHOTOS, known, declared, NewClassRules())
    )
    assert third.annotations.filter(pl.col("photo_id") == "p0")["class_map_version"].to_list() == [3]


def test_the_latest_labelling_of_a_photo_replaces_the_earlier_one(tmp_path):
    late = task("E0/IMG_0.jpg", "2026-10-08T09:00:00Z", "late")
    early = task("E0/IMG_0.jpg", "2026-10-08T08:00:00Z", "early", "early too")
    label_studio(tmp_path, "a.json", [late], at=1_000)
    label_studio(tmp_path, "b.json", [early], at=2_000)
    result = read(tmp_path)
    assert result.annotations.select("class_id", "class_name").rows() == [(0, "late")]
    assert result.summary["superseded_labellings"] == 1


def test_what_cannot_be_used_is_quarantined_with_a_remedy(tmp_path):
    put(tmp_path / "nameless" / "IMG_0.txt", BOX, 1_000)
    put(tmp_path / "broken.json", "[{", 1_000)
    put(tmp_path / "torn.xml", "<annotation>", 1_000)
    put(tmp_path / "notes.doc", "labels are in the mail", 1_000)
    put(tmp_path / ".hidden", "x", 1_000)
    yolo(tmp_path, "set", {"E0/IMG_77": BOX, "E0/IMG_1": "0 0.5 0.5 0 0.2\n" + BOX}, ["battery"])
    label_studio(tmp_path, "side.json", [task("E1/IMG_2.jpg", "2026-10-08T08:00:00Z", "fan", size=(960, 1280))])
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    result = read(tmp_path)
    assert result.annotations["photo_id"].to_list() == ["p1"]
    assert result.quarantine["remedy"].str.len_chars().min() > 0
    assert set(result.quarantine["source"]) == {
        "nameless/IMG_0.txt",
        "broken.json",
        "torn.xml",
        "notes.doc",
        "set/labels/E0/IMG_77.txt",
        "set/labels/E0/IMG_1.txt",
        "side.json",
        "gone.json",
    }


def test_class_name_files_that_disagree_quarantine_their_labels(tmp_path):
    yolo(tmp_path, "set", {"E0/IMG_0": BOX}, ["battery"])
    put(tmp_path / "set" / "data.yaml", "names: [fan]", 1_000)
    assert "disagree" in read(tmp_path).quarantine["reason"][0]


def test_file_names_that_are_no_unicode_are_quarantined(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json")).write_text("{")
    assert read(tmp_path).quarantine["source"].to_list() == ["\\xff.json"]


def test_an_object_store_is_a_drop_too():
    drop = UPath("memory://drop-of-test/labels")
    (drop / "set").mkdir(parents=True)
    (drop / "set" / "classes.txt").write_text("battery")
    (drop / "set" / "IMG_3.txt").write_text(BOX)
    before = drop_digest(drop)
    assert read(drop).annotations["photo_id"].to_list() == ["p3"]
    (drop / "set" / "IMG_4.txt").write_text("")
    assert drop_digest(drop) != before


def test_the_digest_follows_names_sizes_and_times(tmp_path):
    yolo(tmp_path, "set", {"E0/IMG_0": BOX}, ["battery"], at=1_000)
    digests = [drop_digest(tmp_path)]
    os.utime(tmp_path / "set" / "classes.txt", (5, 5))
    digests.append(drop_digest(tmp_path))
    (tmp_path / "set" / "classes.txt").rename(tmp_path / "set" / "obj.names")
    digests.append(drop_digest(tmp_path))
    assert len(set(digests)) == 3


def test_ids_of_a_class_table_that_lags_behind_are_not_given_again(tmp_path):
    yolo(tmp_path, "b", {"E0/IMG_0": BOX}, ["battery"], at=2_000)
    first = read(tmp_path)
    label_studio(tmp_path, "a.json", [task("E1/IMG_2.jpg", "2026-10-08T08:00:00Z", "meter")], at=1_000)
    second = read(tmp_path, first.annotations)
    assert dict(second.annotations.select("class_name", "class_id").iter_rows()) == {"battery": 0, "meter": 1}


def test_the_racks_labels_match_every_photo():
    if not RACKS.is_dir():
        pytest.skip("no ../shared/data/racks beside the repository")
    paths = sorted((RACKS / "landing").rglob("*.jpg"))
    photos = pl.DataFrame(
        [(path.name, path.parent.name, str(path), None, None) for path in paths], schema=PHOTOS.schema, orient="row"
    )
    result = import_labels(
        RACKS / "labels", photos=photos, previous=NO_ANNOTATIONS, known_classes=NO_CLASSES, declared=(), now=NOW
    )
    assert result.quarantine.is_empty()
    assert (result.summary["photos"], result.summary["boxes"], result.summary["classes"]) == (134, 613, 10)
    by_day = result.annotations.group_by("source").agg(pl.col("class_map_version").unique()).sort("source")
    assert by_day["class_map_version"].to_list() == [[8], [10]]
