"""Every label file of other projects that lies beside the repository, counted by other means than the importers'."""

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_samples import SHARED, read_drop
from PIL import Image, ImageOps

from mlops_assets.labels.drop import list_drop
from mlops_assets.labels.formats import parse_labels
from mlops_assets.labels.items import ParsedLabels, ReadRules
from mlops_assets.labels.orientation import stored_orientations
from mlops_assets.labels.parsed import Parsed
from mlops_assets.labels.reading import label_files, read_labels

FORMATS = SHARED / "label_formats"
DOCS = Path(__file__).parents[2] / "docs" / "labels.md"

if not FORMATS.is_dir():
    pytest.skip("no ../shared/data/label_formats beside the repository", allow_module_level=True)


@pytest.fixture(scope="module")
def parsed():
    return read_labels(list_drop(FORMATS), ReadRules(), Parsed.empty())[0]


def json_kind(content):
    if isinstance(content, dict):
        return "COCO JSON" if {"images", "annotations"} <= content.keys() else "other"
    return "Label Studio JSON" if {"data", "annotations"} <= content[0].keys() else "other"


def kind_of(source):
    """The format of a file, by its content alone."""
    path = FORMATS / source
    if path.suffix == ".json":
        return json_kind(json.loads(path.read_text()))
    if path.suffix == ".xml":
        root = ElementTree.fromstring(path.read_text())  # noqa: S314 files that are known
        if root.tag == "annotations":
            return "CVAT XML, video" if root.find("track") is not None else "CVAT XML, images"
        return "Pascal VOC XML" if root.tag == "annotation" and root.find("object/polygon") is None else "other"
    if path.suffix == ".txt" and re.match(r"[\d. ]+$", path.read_text().split("\n")[0]):
        return "YOLO text"
    if path.suffix == ".txt" and "label_" in path.read_text():
        return "YOLO oriented boxes in pixels (DOTA)"
    return "list of photos" if source.endswith("strict/train.txt") else "other"


def coco_boxes(path):
    content = json.loads(path.read_text())
    annotations = content["annotations"]
    assert {a["image_id"] for a in annotations} <= {image["id"] for image in content["images"]}
    return sum(a.get("iscrowd") not in (1, True) and a["bbox"][2] > 0 and a["bbox"][3] > 0 for a in annotations)


def studio_boxes(path):
    total = 0
    for task in json.loads(path.read_text()):
        for annotation in task["annotations"]:
            kinds = [result["type"] for result in annotation["result"]]
            rejected = any(review["accepted"] is False for review in annotation.get("reviews", []))
            pictured = any(isinstance(v, str) and v.endswith((".jpg", ".png")) for v in task["data"].values())
            total += 0 if rejected or not pictured else sum(k in ("rectanglelabels", "polygonlabels") for k in kinds)
    return total


def expected_boxes(source, kind):
    path = FORMATS / source
    text = path.read_text()
    if kind == "COCO JSON":
        return coco_boxes(path)
    if kind == "Label Studio JSON":
        return studio_boxes(path)
    if kind == "Pascal VOC XML":
        return text.count("<bndbox>") - sum(
            part.count("<bndbox>") for part in re.findall(r"(?s)<part>.*?</part>", text)
        )
    if kind == "CVAT XML, images":
        return len(re.findall(r'<(?:box|polygon) label="[^"]', text))
    if kind == "CVAT XML, video":
        return len(re.findall(r'<(?:box|polygon) frame="\d+" outside="0"', text))
    if kind == "YOLO text":
        return 0 if "relaxed_yolo" in source else len(text.splitlines())  # there without class names
    return len(text.splitlines()) if kind.startswith("YOLO oriented") else 0


def test_boxes_of_every_file_are_those_that_another_count_finds(parsed):
    kept = dict(
        parsed.files.join(parsed.boxes.group_by("file_id").len("boxes"), on="file_id", how="left")
        .select("source", pl.col("boxes").fill_null(0))
        .iter_rows()
    )
    assert len(kept) == len(label_files(list_drop(FORMATS))) == 96
    assert kept == {source: expected_boxes(source, kind_of(source)) for source in kept}
    assert sum(kept.values()) == 3705


def test_every_file_gives_labels_or_says_why_not(parsed):
    silent = parsed.files.filter(pl.col("rows") == 0)["source"].to_list()
    # tasks that were rejected in review, and a list of photos
    assert silent == ["datumaro/yolo_dataset/strict/train.txt", "label_studio/test_export_csv/csv_test.json"]
    assert parsed.problems["reason"].str.len_chars().min() > 0
    assert parsed.problems["remedy"].str.len_chars().min() > 0


def table_rows(parsed):
    """The rows of the table in docs/labels.md."""
    files = parsed.files.select("file_id", "source", "left").with_columns(
        kind=pl.col("source").map_elements(kind_of, return_dtype=pl.String)
    )
    rows = []
    for (kind,), group in files.group_by("kind", maintain_order=True):
        ids = group.select("file_id")
        photos, boxes, problems = (
            part.join(ids, on="file_id", how="semi") for part in (parsed.photos, parsed.boxes, parsed.problems)
        )
        left = sum((Counter(json.loads(text)) for text in group["left"].drop_nulls()), Counter())
        turned = boxes.filter(pl.col("drawn_as") != "box")["drawn_as"].value_counts(sort=True)
        rows.append(
            [
                str(kind),
                str(group.height),
                str(photos.height),
                f"{boxes.height:,}",
                ", ".join(f"{count} {shape}" for shape, count in turned.iter_rows()) or "none",
                ", ".join(f"{count} {shape}" for shape, count in sorted(left.items())) or "none",
                str(problems.height),
            ]
        )
    return sorted(rows)


def test_the_table_in_the_docs_is_what_an_import_comes_to(parsed):
    documented = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for row in table_rows(parsed):
        line = "| " + " | ".join(row) + " |"
        assert any(written.startswith(line) for written in documented), f"docs/labels.md lacks: {line}"


def photos_beside(folder, patterns):
    """Rows of the ledger for pictures as they lie there, upright, and how their originals are read."""
    paths = {path.stem: path for pattern in patterns for path in sorted(folder.glob(pattern))}
    rows = []
    for photo_id, path in paths.items():
        width, height = ImageOps.exif_transpose(Image.open(path)).size
        uri = f"/landing/2026-10-05/{folder.name}/{path.name}"
        rows.append({"photo_id": photo_id, "landing_uri": uri, "width": width, "height": height, "format": "JPEG"})
    return pl.DataFrame(rows), lambda photo_id, extension: paths[photo_id].read_bytes()


SETS = {
    "pcb_components": (["*/labels/*.txt", "*data.yaml"], 32, 1417, 0, 5),
    "bccd_voc": (["annotations/*.xml"], 150, 2010, 2, 3),
    "playing_cards_voc": (["annotations/*.xml"], 120, 234, 0, 6),
    "industrial_objects": (["*/labels/*.txt", "*data.yaml"], 150, 223, 0, 4),
}


@pytest.mark.parametrize("name", SETS)
def test_whole_data_sets_are_imported_exactly(name, tmp_path):
    patterns, photos, boxes, quarantined, classes = SETS[name]
    for path in (path for pattern in patterns for path in (SHARED / name).glob(pattern)):
        target = tmp_path / name / path.relative_to(SHARED / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    known, read_original = photos_beside(SHARED / name, ["images/*", "*/images/*"])
    result = read_drop(tmp_path, known, orientations=stored_orientations(known, read_original))
    assert (result.summary["photos"], result.summary["boxes"], result.quarantine.height, result.summary["classes"]) == (
        photos,
        boxes,
        quarantined,
        classes,
    )
    assert set(result.quarantine["reason"]) <= {"it has no area"}


def test_voc_without_a_size_and_boxes_in_pixels_take_the_photos(tmp_path):
    for entry in ("voc_dataset/voc_dataset2", "roboflow_dataset/yolo_obb"):
        shutil.copytree(FORMATS / "datumaro" / entry, tmp_path / Path(entry).name)
    names = ["@.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg", "train_001.jpg", "train_002.jpg"]
    rows = [{"photo_id": name, "landing_uri": f"/l/E/{name}", "width": 10, "height": 10} for name in names]
    result = read_drop(tmp_path, pl.DataFrame(rows))
    found = result.annotations.select("photo_id", "class_name", "box_x", "box_y", "box_w", "box_h").rows()
    boxes = {(photo_id, name): numbers for photo_id, name, *numbers in found}
    assert boxes["a.jpg", "background"] == pytest.approx([0.25, 0.4, 0.3, 0.4])
    assert boxes["train_001.jpg", "label_0"] == pytest.approx([0.1, 0.1, 0.2, 0.2])
    # one reaches 11 pixels across a photo of 10, of the other there is no photo
    reasons = dict(result.quarantine.select("item", "reason").iter_rows())
    assert reasons.keys() == {"c.jpg", "val_001.txt"}
    assert "of 1 boxes 1 cannot be used: it reaches outside" in reasons["c.jpg"]


REAL_FILES = [FORMATS / file.source for file in label_files(list_drop(FORMATS)) if file.byte_size < 30_000]
CONTENTS = {str(path.relative_to(FORMATS)): path.read_bytes() for path in REAL_FILES}


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(CONTENTS)), st.integers(0, 2**32), st.integers(1, 8))
def test_real_files_that_were_damaged_give_labels_or_reasons_and_never_an_exception(source, seed, times):
    draw = random.Random(seed)  # noqa: S311 no secret
    content = bytearray(CONTENTS[source])
    pieces = [
        b"0",
        b"-1",
        b"1e999",
        b"NaN",
        b"null",
        b"{}",
        b"[]",
        b'""',
        b"<a/>",
        b"\xff",
        b"\0",
        b"99999999999999999999",
    ]
    for _ in range(times):
        at = draw.randrange(len(content) + 1)
        what = draw.choice(["cut", "piece", "swap", "number", "double"])
        if what == "cut":
            del content[at : at + draw.randrange(1, 40)]
        elif what == "piece":
            content[at:at] = draw.choice(pieces)
        elif what == "swap" and at < len(content):
            content[at] = draw.randrange(256)
        elif what == "double":
            content[at:at] = content[at : at + draw.randrange(1, 200)]
        else:  # a value of JSON or XML becomes another
            found = list(re.finditer(rb'(?<=[:>" ,\[])-?\d+(\.\d+)?', content))
            if found:
                value = draw.choice(found)
                content[value.start() : value.end()] = draw.choice(pieces)
    parsed = parse_labels(source, bytes(content), {0: "a", 1: "b", 2: "c"})
    assert isinstance(parsed, ParsedLabels)
    assert all(problem.reason and problem.remedy for problem in parsed.problems)
    for box in (box for photo in parsed.photos if not photo.in_pixels for box in photo.boxes):
        assert box.x - box.width / 2 + 1e-9 >= 0
        assert box.x + box.width / 2 <= 1 + 1e-9
        assert box.width > 0
        assert box.height > 0
