"""An import reads only what changed, and comes to the same as one that reads all."""

import json
import os

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_samples import coco_text, photo_rows, put, read_drop, rectangle, task

from mlops_assets.labels import reading
from mlops_assets.labels.drop import DropFile
from mlops_assets.labels.items import ReadRules
from mlops_assets.labels.matching import hashed_names
from mlops_assets.labels.parsed import Parsed
from mlops_assets.labels.schema import PARSED_LABELS

PHOTOS = photo_rows(*(f"E{n // 2}/p{n}.jpg" for n in range(6)))
BOX = "0 0.5 0.5 0.2 0.2\n"


@pytest.fixture
def drop(tmp_path):
    put(tmp_path / "set" / "classes.txt", "battery\nfan")
    put(tmp_path / "set" / "E0" / "p0.txt", BOX)
    put(tmp_path / "set" / "E0" / "p1.txt", "0 0.5 0.5 0.2 0\n")
    put(tmp_path / "a.json", coco_text(["E1/p2.jpg", "E1/p3.jpg"], [(1, 0, 1, 1, 50, 50)], categories=["router"]))
    put(tmp_path / "b.json", json.dumps([task("E2/p4.jpg", rectangle("fan"))]))
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """Files that were read, by name."""
    names = []
    read = DropFile.read_bytes

    def remember(file):
        names.append(file.source)
        return read(file)

    monkeypatch.setattr(DropFile, "read_bytes", remember)
    return names


def assert_same(one, other):
    assert one.annotations.equals(other.annotations)
    assert one.quarantine.equals(other.quarantine)
    assert one.conflicts.equals(other.conflicts)
    ignored = ("label_files_read",)
    assert {k: v for k, v in one.summary.items() if k not in ignored} == {
        k: v for k, v in other.summary.items() if k not in ignored
    }
    assert (one.left_out, one.drawn_as) == (other.left_out, other.drawn_as)


def test_a_second_import_opens_only_the_names_and_what_is_new(drop, opened):
    first = read_drop(drop, PHOTOS)
    assert first.summary["label_files_read"] == 4
    assert first.parsed.schema == PARSED_LABELS
    opened.clear()
    again = read_drop(drop, PHOTOS, parsed_before=first.parsed)
    assert opened == ["set/classes.txt"]
    assert again.parsed is None
    assert_same(again, first)
    put(drop / "set" / "E2" / "p5.txt", BOX)
    opened.clear()
    third = read_drop(drop, PHOTOS, parsed_before=first.parsed)
    assert opened == ["set/classes.txt", "set/E2/p5.txt"]
    assert_same(third, read_drop(drop, PHOTOS))


def test_a_file_of_the_same_size_and_time_but_other_content_is_read_again(drop):
    first = read_drop(drop, PHOTOS)
    put(drop / "set" / "E0" / "p0.txt", BOX.replace("0.5", "0.4"))
    assert read_drop(drop, PHOTOS, parsed_before=first.parsed).annotations["box_x"][0] == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["battery\nfans", "battery\nfan\nmore"])
def test_other_class_names_read_yolo_labels_again_and_no_others(drop, opened, name):
    first = read_drop(drop, PHOTOS)
    put(drop / "set" / "classes.txt", name)
    opened.clear()
    again = read_drop(drop, PHOTOS, parsed_before=first.parsed)
    assert sorted(opened) == ["set/E0/p0.txt", "set/E0/p1.txt", "set/classes.txt"]
    assert_same(again, read_drop(drop, PHOTOS))


def test_other_rules_or_other_code_read_all_again(drop, monkeypatch):
    first = read_drop(drop, PHOTOS)
    rules = ReadRules(outside_tolerance=0.1)
    assert read_drop(drop, PHOTOS, parsed_before=first.parsed, rules=rules).summary["label_files_read"] == 4
    monkeypatch.setattr(reading, "code_version", lambda *_, **__: "other")
    assert read_drop(drop, PHOTOS, parsed_before=first.parsed).summary["label_files_read"] == 4


@pytest.mark.parametrize("kind", ["photo", "box", "problem"])
def test_a_table_that_lost_rows_is_not_believed(drop, kind):
    first = read_drop(drop, PHOTOS)
    torn = first.parsed.filter(pl.int_range(pl.len()).over("row") > 0, pl.col("row") == kind)
    torn = pl.concat([first.parsed.filter(pl.col("row") != kind), torn])
    again = read_drop(drop, PHOTOS, parsed_before=torn)
    assert 0 < again.summary["label_files_read"] < 4
    assert_same(again, first)


def test_files_that_name_an_erased_photo_are_not_kept(drop):
    erased = dict.fromkeys(hashed_names(PHOTOS.filter(pl.col("photo_id") == "p3")), "p3")
    left = PHOTOS.filter(pl.col("photo_id") != "p3")
    result = read_drop(drop, left, erased_names=erased)
    assert result.summary["of_erased_photos"] == 1
    texts = result.parsed.select(pl.col(pl.String)).unpivot()["value"].drop_nulls()
    assert not texts.str.contains("p3").any()
    assert texts.str.contains("p2").sum() == 0  # of the same file
    again = read_drop(drop, left, erased_names=erased, parsed_before=result.parsed)
    assert again.summary["label_files_read"] == 1
    assert_same(again, result)


def test_a_deleted_label_file_takes_its_boxes_with_it_and_a_later_labelling_without_a_box_counts(drop):
    put(drop / "c.json", json.dumps([task("E1/p2.jpg", created_at="2026-10-09T08:00:00Z")]))
    first = read_drop(drop, PHOTOS)
    assert first.annotations.filter(pl.col("photo_id") == "p2")["class_name"].to_list() == [None]
    (drop / "c.json").unlink()
    second = read_drop(drop, PHOTOS, parsed_before=first.parsed)
    assert second.annotations.filter(pl.col("photo_id") == "p2")["class_name"].to_list() == ["router"]
    (drop / "a.json").unlink()
    third = read_drop(drop, PHOTOS, parsed_before=second.parsed)
    assert third.annotations.filter(pl.col("photo_id") == "p2").is_empty()
    assert third.parsed.filter(pl.col("source") == "a.json").is_empty()


edits = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["coco", "yolo", "gone", "broken"]), st.integers(0, 5)),
    max_size=8,
)


@settings(deadline=None, max_examples=15)
@given(edits)
def test_any_edits_in_any_order_come_to_what_a_fresh_import_comes_to(tmp_path_factory, changes):
    drop = tmp_path_factory.mktemp("drop")
    kept = None
    for at, (entry, what, photo) in enumerate(changes, 1):
        json_file, text_file = drop / f"{entry}.json", drop / entry / f"E{photo // 2}" / f"p{photo}.txt"
        if what == "coco":
            put(json_file, coco_text([f"E{photo // 2}/p{photo}.jpg"], [(1, 0, 1, 1, 50, 50 + at)]), at)
        elif what == "yolo":
            put(drop / entry / "classes.txt", f"class {entry}")
            put(text_file, BOX, at)
        elif what == "broken":
            put(json_file, "{", at)
        else:
            json_file.unlink(missing_ok=True)
            text_file.unlink(missing_ok=True)
        result = read_drop(drop, PHOTOS, parsed_before=kept)
        assert_same(result, read_drop(drop, PHOTOS))
        kept = kept if result.parsed is None else result.parsed


def test_many_small_files_and_a_large_one_are_all_there(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LARGE_FILE_BYTES", 1_000)
    photos = photo_rows(*(f"E/p{n}.jpg" for n in range(300)))
    put(tmp_path / "set" / "classes.txt", "battery")
    for n in range(250):
        put(tmp_path / "set" / "E" / f"p{n}.txt", BOX * (n % 3))
    names = [f"E/p{n}.jpg" for n in range(250, 300)]
    put(tmp_path / "large.json", coco_text(names, [(n, 0, 1, 1, 50, 50) for n in range(1, 51)]))
    result = read_drop(tmp_path, photos)
    assert os.stat(tmp_path / "large.json").st_size > 1_000  # noqa: PTH116
    boxes = dict(result.annotations.group_by("photo_id").agg(pl.col("class_id").count()).iter_rows())
    assert boxes == {f"p{n}": n % 3 if n < 250 else 1 for n in range(300)}
    assert Parsed.of_table(result.parsed).table().equals(result.parsed)
