import hashlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from demo.render.camera import aim
from demo.render.delivery import BOXES, INVENTORY
from demo.render.equipment import BASE_EQUIPMENT, EQUIPMENT, NEW_EQUIPMENT
from demo.render.exposure import encode, exif, store_turned
from demo.render.plan import BAD_KINDS, DAYS, plan_demo
from demo.render.run import RenderError, RenderSummary, render_demo

RACKS_TRUTH = Path(__file__).parents[3] / "shared" / "data" / "racks" / "truth"


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RenderSummary]:
    out = tmp_path_factory.mktemp("rendered") / "demo"
    return out, render_demo(out, seed=5, enclosures=3, workers=1)


def boxes_of(out: Path) -> pl.DataFrame:
    return pl.read_csv(out / "truth" / "boxes.csv", schema=BOXES)


def decode(content: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), flag))


def digests(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "render.json"
    }


def test_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(
    rendered: tuple[Path, RenderSummary], tmp_path: Path
) -> None:
    render_demo(tmp_path / "again", seed=5, enclosures=3, workers=2)
    assert digests(tmp_path / "again") == digests(rendered[0])


def test_another_seed_gives_another_plan() -> None:
    assert plan_demo(5, 8) == plan_demo(5, 8)
    assert plan_demo(5, 8) != plan_demo(6, 8)


def test_truth_boxes_lie_inside_their_photo_and_have_an_area(rendered: tuple[Path, RenderSummary]) -> None:
    boxes = boxes_of(rendered[0])
    assert boxes.height == rendered[1].boxes > 0
    outside = boxes.filter(
        (pl.col("x") < 0)
        | (pl.col("y") < 0)
        | (pl.col("w") < 1)
        | (pl.col("h") < 1)
        | (pl.col("x") + pl.col("w") > pl.col("width") + 0.11)
        | (pl.col("y") + pl.col("h") > pl.col("height") + 0.11)
    )
    assert outside.is_empty()


def test_photos_read_upright_have_the_size_that_the_truth_says(rendered: tuple[Path, RenderSummary]) -> None:
    out = rendered[0]
    sizes = (
        boxes_of(out).unique(["day", "enclosure_id", "file"]).select("day", "enclosure_id", "file", "width", "height")
    )
    turned = 0
    for day, enclosure, file, width, height in sizes.iter_rows():
        with Image.open(out / "landing" / day / enclosure / file) as photo:
            turned += photo.getexif().get(274) != 1
            assert ImageOps.exif_transpose(photo).size == (width, height)
            assert photo.getexif().get_ifd(0x8769)[0x9003].startswith(day.replace("-", ":"))
    assert 0 < turned < sizes.height


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_decodes_to_the_upright_picture(orientation: int) -> None:
    upright = np.zeros((48, 80, 3), np.uint8)
    upright[:24, :40], upright[:24, 40:], upright[24:, :40] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    plan = plan_demo(1, 2)[0].visits[0].photos[0]
    content = encode(upright, orientation, exif(orientation, plan.captured_at, ("Maker", "Model"), (47.5, 19.0)), 95)
    decoded = decode(content)
    assert decoded.shape == upright.shape
    assert np.abs(decoded[6:18, 6:34].astype(int) - upright[6:18, 6:34]).max() < 12
    assert np.abs(decoded[30:42, 6:34].astype(int) - upright[30:42, 6:34]).max() < 12
    with Image.open(io.BytesIO(content)) as photo:
        assert np.asarray(ImageOps.exif_transpose(photo)).shape == upright.shape
        assert photo.getexif().get_ifd(0x8825)[2] == (47.0, 30.0, 0.0)


def test_an_orientation_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError):
        store_turned(np.zeros((2, 3, 3), np.uint8), 9)


def label_studio_boxes(path: Path) -> pl.DataFrame:
    rows = []
    for task in json.loads(path.read_text()):
        enclosure, file = task["data"]["image"].split("?d=")[1].split("/")
        for result in task["annotations"][0]["result"]:
            across, down, value = result["original_width"] / 100, result["original_height"] / 100, result["value"]
            corner = (value["x"] * across, value["y"] * down, value["width"] * across, value["height"] * down)
            rows.append((enclosure, file, value["rectanglelabels"][0], *corner))
    return pl.DataFrame(rows, schema=["enclosure_id", "file", "class", "x", "y", "w", "h"], orient="row")


def yolo_boxes(folder: Path, sizes: dict[str, tuple[int, int]]) -> pl.DataFrame:
    names = (folder / "classes.txt").read_text().split()
    rows = []
    for path in sorted(folder.glob("labels/CAB-1*/*.txt")):
        file = f"{path.stem}.jpg"
        for entry in path.read_text().splitlines():
            number, *relative = entry.split()
            width, height = sizes[file]
            x, y, w, h = np.array(relative, float) * [width, height, width, height]
            rows.append((path.parent.name, file, names[int(number)], x - w / 2, y - h / 2, w, h))
    return pl.DataFrame(rows, schema=["enclosure_id", "file", "class", "x", "y", "w", "h"], orient="row")


def test_label_boxes_equal_the_truth(rendered: tuple[Path, RenderSummary]) -> None:
    out = rendered[0]
    truth = boxes_of(out)
    sizes = {file: (width, height) for file, width, height in truth.select("file", "width", "height").iter_rows()}
    labels = pl.concat(
        [
            label_studio_boxes(out / "labels" / "base" / "day1.label-studio.json"),
            yolo_boxes(out / "labels" / "base" / "yolo-day2", sizes),
            label_studio_boxes(out / "labels" / "new_equipment" / "day3.label-studio.json"),
        ]
    )
    labelled = pl.read_csv(out / "truth" / "labelled.csv")
    expected = truth.join(labelled, on=["enclosure_id", "file"], how="semi").select(labels.columns)
    order = ["enclosure_id", "file", "class", "x", "y"]
    assert labels.select(order[:3]).sort(order[:3]).equals(expected.select(order[:3]).sort(order[:3]))
    gap = np.abs(labels.sort(order)[:, 3:].to_numpy() - expected.sort(order)[:, 3:].to_numpy())
    assert gap.max() < 0.01
    assert labelled.height == rendered[1].labelled_photos


def test_bad_uploads_are_landed_and_bad_in_the_way_they_say(rendered: tuple[Path, RenderSummary]) -> None:
    out = rendered[0]
    bad = pl.read_csv(out / "truth" / "bad_uploads.csv")
    assert bad.height == rendered[1].bad_uploads
    assert set(bad["kind"]) == set(BAD_KINDS)
    for _, path, kind in bad.iter_rows():
        content = (out / "landing" / path).read_bytes()
        assert (kind == "zero_bytes") == (content == b"")
        assert (kind in ("zero_bytes", "not_an_image")) == (content[:2] != b"\xff\xd8")
        if kind == "truncated":
            with pytest.raises(OSError, match="truncated"), Image.open(io.BytesIO(content)) as photo:
                photo.load()
        if kind == "exact_duplicate":
            siblings = [other.read_bytes() for other in (out / "landing" / path).parent.glob("*.jpg")]
            assert siblings.count(content) == 2
        if kind == "dark":
            assert decode(content, cv2.IMREAD_GRAYSCALE).mean() < 25


def test_good_photos_are_neither_dark_nor_blurred(rendered: tuple[Path, RenderSummary]) -> None:
    out = rendered[0]
    for day, enclosure, file in boxes_of(out).select("day", "enclosure_id", "file").unique().iter_rows():
        grey = decode((out / "landing" / day / enclosure / file).read_bytes(), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(grey, None, fx=640 / max(grey.shape), fy=640 / max(grey.shape), interpolation=cv2.INTER_AREA)
        assert small.mean() > 45
        assert cv2.Laplacian(small, cv2.CV_64F).var() > 60


def test_sidecars_name_the_visit_for_all_photos_of_a_visit_or_for_none(rendered: tuple[Path, RenderSummary]) -> None:
    for folder in (rendered[0] / "landing").glob("*/CAB-*"):
        named = {
            path.name.removesuffix(".json")
            for path in folder.glob("*.json")
            if "visit_id" in json.loads(path.read_text())
        }
        truth = boxes_of(rendered[0]).filter(pl.col("enclosure_id") == folder.name, pl.col("day") == folder.parent.name)
        photos = set(truth["file"])
        assert photos <= named or not named


def test_every_item_of_the_inventory_is_on_a_photo_or_listed_as_hidden(rendered: tuple[Path, RenderSummary]) -> None:
    out, keys = rendered[0], ["day", "enclosure_id", "class"]
    inventory = pl.read_csv(out / "truth" / "inventory.csv", schema=INVENTORY)
    hidden = pl.read_csv(out / "truth" / "hidden.csv", schema=INVENTORY)
    seen = boxes_of(out).unique(keys).select(keys)
    missing = inventory.join(seen, on=keys, how="anti").select(keys)
    assert missing.join(hidden, on=keys, how="anti").is_empty()
    assert seen.join(inventory, on=keys, how="anti").is_empty()


@pytest.mark.parametrize("name", ["boxes", "inventory"])
def test_truth_has_the_columns_of_the_racks_truth(rendered: tuple[Path, RenderSummary], name: str) -> None:
    if not RACKS_TRUTH.is_dir():
        pytest.skip(f"no shared racks data at {RACKS_TRUTH}")
    racks = pl.read_csv(RACKS_TRUTH / f"{name}.csv", n_rows=1).columns
    assert pl.read_csv(rendered[0] / "truth" / f"{name}.csv", n_rows=1).columns == racks


def test_a_finished_folder_is_left_as_it_is_and_another_demo_refused(rendered: tuple[Path, RenderSummary]) -> None:
    out, summary = rendered
    assert render_demo(out, seed=5, enclosures=3) == summary
    with pytest.raises(RenderError, match="delete that folder"):
        render_demo(out, seed=6, enclosures=3)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RenderError, match="not empty"):
        render_demo(tmp_path)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), enclosures=st.integers(2, 24))
def test_plans_are_consistent(seed: int, enclosures: int) -> None:
    plan = plan_demo(seed, enclosures)
    base = {kind.name for kind in BASE_EQUIPMENT}
    files = [photo.file for e in plan for visit in e.visits for photo in (*visit.photos, *visit.bad)]
    assert len(files) == len(set(files))
    assert any(not photo.labelled for e in plan for visit in e.visits for photo in visit.photos)
    for enclosure in plan:
        assert [visit.day for visit in enclosure.visits] == list(DAYS)
        for visit in enclosure.visits:
            slots = [item.slot for item in visit.items]
            assert len(slots) == len(set(slots))
            assert 1 <= len(visit.photos) <= 3
            for item in visit.items:
                assert enclosure.layout.slots[item.slot].mount == EQUIPMENT[item.equipment].mount
                assert item.equipment in base or (item.equipment == NEW_EQUIPMENT.name and visit.day == DAYS[-1])
    upgraded = sum(any(item.equipment == NEW_EQUIPMENT.name for item in e.visits[-1].items) for e in plan)
    assert upgraded == (enclosures + 1) // 2


def test_a_camera_straight_ahead_sees_its_target_in_the_middle_and_up_as_up() -> None:
    target = np.array([100.0, 200.0, 0.0])
    camera = aim(target, 1000.0, (0.3, 0.2, 0.0), 900.0, (1280, 960))
    middle, above, right = camera.project(target + np.array([[0.0, 0, 0], [0, -50, 0], [50, 0, 0]]))
    assert middle == pytest.approx([640, 480])
    assert above[1] < 480
    assert right[0] > 640
