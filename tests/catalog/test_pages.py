import datetime as dt
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.catalog.catalog import UnknownClassError, equipment_catalog, equipment_changes
from mlops_assets.catalog.inventory import visit_inventory
from mlops_assets.catalog.page_content import page_link, page_name
from mlops_assets.catalog.pages import PagesResult, write_pages
from mlops_assets.catalog.pictures import LONG_SIDE, evidence_picture, picture_name
from mlops_assets.catalog.schema import DETECTIONS
from mlops_assets.detector.charts import annotate
from mlops_assets.photos.pixels import UnreadableImageError
from mlops_assets.use_case import InventoryRules

NASTY = 'Cab/1 <script>alert("x")</script> ő%2F'
CLASSES = pl.DataFrame(
    {"class_id": [0, 1], "class_name": ["router <b>", "elosztó"], "status": ["active", "active"]},
    schema_overrides={"class_id": pl.Int32},
)


PHOTOS = {
    "photo_id": pl.String(),
    "enclosure_id": pl.String(),
    "visit_id": pl.String(),
    "visited_on": pl.Date(),
    "captured_at": pl.Datetime("us", "UTC"),
    "usable": pl.Boolean(),
}


def jpeg(grey: int = 120) -> bytes:
    done, content = cv2.imencode(".jpg", np.full((900, 1200, 3), grey, np.uint8))
    assert done
    return bytes(content)


class Catalogue:
    """Two enclosures over two days; the router of the first is replaced by two of another kind."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.gone: set[str] = set()
        days = [dt.date(2026, 10, 5), dt.date(2026, 10, 6)]
        self.photos = pl.DataFrame(
            [
                (f"{number}{view}{'f' * 62}", enclosure, f"v{day}", day, None, True)
                for number, (enclosure, day) in enumerate((e, d) for e in (NASTY, "CAB-2") for d in days)
                for view in range(2)
            ],
            schema=PHOTOS,
            orient="row",
        )
        found = {"00": [0], "10": [1, 1], "20": [0], "30": [0]}
        rows = [
            {
                "photo_id": photo_id,
                "class_id": class_id,
                "confidence": 0.9,
                "box_x": 0.3 + 0.3 * n,
                "model_version": "3",
            }
            | {"box_y": 0.5, "box_w": 0.2, "box_h": 0.2}
            for photo_id in self.photos["photo_id"]
            for n, class_id in enumerate(found.get(photo_id[:2], [None]))
        ]
        self.detections = pl.DataFrame(rows, schema=DETECTIONS)

    def read_photo(self, photo_id: str) -> bytes | None:
        self.read.append(photo_id[:2])
        return None if photo_id[:2] in self.gone else jpeg()

    def write(self, folder: Path, **changed: Any) -> PagesResult:
        inventory = visit_inventory(self.detections, self.photos, {}, InventoryRules())
        arguments = {
            "title": "Cabinets & more",
            "catalog": equipment_catalog(inventory, CLASSES),
            "changes": equipment_changes(inventory),
            "photos": self.photos,
            "classes": CLASSES,
            "read_photo": self.read_photo,
            "facts": {"Model": "version 3", "Built": "2026-10-06"},
            "boxes": self.detections.drop_nulls("class_id"),
        }
        return write_pages(folder, **(arguments | changed))


class Links(HTMLParser):
    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src") and value and value != "data:,"]
        self.anchors |= {value for name, value in attrs if name == "id" and value}


def modified(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_link_and_picture_of_every_page_is_there(tmp_path: Path) -> None:
    result = Catalogue().write(tmp_path)
    pages = [result.index, *(tmp_path / "enclosures").iterdir()]
    assert (result.pages, len(pages)) == (2, 3)
    followed = 0
    for page in pages:
        parsed = Links(page)
        for link in parsed.links:
            target, _, anchor = link.partition("#")
            path = page.parent / unquote(target) if target else page
            assert path.is_file(), f"{page.name} leads to {link}"
            assert not anchor or anchor in Links(path).anchors, f"{page.name} leads to {link}"
            followed += 1
    assert followed > 10


def test_text_from_outside_is_never_markup(tmp_path: Path) -> None:
    result = Catalogue().write(tmp_path, facts={"Note": "<img src=x onerror=alert(1)>"})
    for page in [result.index, *(tmp_path / "enclosures").iterdir()]:
        assert not Links(page).tags & {"script", "b"}
        assert "onerror=alert(1)>" not in page.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in result.index.read_text(encoding="utf-8")


def test_an_enclosure_page_tells_state_changes_and_visits(tmp_path: Path) -> None:
    Catalogue().write(tmp_path)
    text = (tmp_path / "enclosures" / page_name(NASTY)).read_text(encoding="utf-8")
    plain = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert "2 items confirmed; last visit 2026-10-06" in plain
    assert "elosztó 2 confirmed 2026-10-06 2026-10-06 90% 3" in plain
    assert "router &lt;b&gt; 0 removed 2026-10-05 2026-10-05" in plain
    assert "elosztó appeared 2 new" in plain
    assert "router &lt;b&gt; disappeared 1 gone last seen on" in plain


def test_a_rerun_writes_nothing_and_reads_no_photo(tmp_path: Path) -> None:
    catalogue = Catalogue()
    first = catalogue.write(tmp_path)
    before, catalogue.read = modified(tmp_path), []
    again = catalogue.write(tmp_path)
    assert (first.written, again.written, again.removed) == (1 + 2 + 3, 0, 0)
    assert catalogue.read == []
    assert modified(tmp_path) == before


def test_a_new_build_time_rewrites_only_the_overview(tmp_path: Path) -> None:
    catalogue = Catalogue()
    catalogue.write(tmp_path)
    before = modified(tmp_path)
    catalogue.write(tmp_path, facts={"Built": "later"})
    after = modified(tmp_path)
    assert {name for name in after if before[name] != after[name]} == {"index.html"}


def test_what_no_page_shows_any_more_is_removed_and_other_files_are_left(tmp_path: Path) -> None:
    catalogue = Catalogue()
    catalogue.write(tmp_path)
    (tmp_path / "enclosures" / "interrupted.tmp").write_text("half")
    (tmp_path / "robots.txt").write_text("of the web server")
    catalogue.photos = catalogue.photos.filter(pl.col("enclosure_id") == "CAB-2")
    result = catalogue.write(tmp_path)
    assert result.removed == 1 + 2 + 1
    assert [path.name for path in (tmp_path / "enclosures").iterdir()] == ["CAB-2.html"]
    assert len(list((tmp_path / "pictures").iterdir())) == result.pictures == 1
    assert (tmp_path / "robots.txt").exists()


def test_a_photo_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    catalogue = Catalogue()
    catalogue.gone = {"30"}
    result = catalogue.write(tmp_path)
    assert [photo_id[:2] for photo_id in result.unavailable_photos] == ["30"]
    assert "no longer available" in (tmp_path / "enclosures" / "CAB-2.html").read_text(encoding="utf-8")


def test_a_photo_that_cannot_be_decoded_stops_the_build_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="photo 10fff"):
        Catalogue().write(tmp_path, read_photo=lambda p: b"no picture" if p.startswith("10") else jpeg())
    assert not list(tmp_path.rglob("*.tmp"))


def test_changes_of_an_unknown_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownClassError, match=r"class ids \[1\]"):
        Catalogue().write(tmp_path, classes=CLASSES[:1])


def test_an_empty_catalogue_still_has_an_overview(tmp_path: Path) -> None:
    catalogue = Catalogue()
    catalogue.photos, catalogue.detections = catalogue.photos.clear(), catalogue.detections.clear()
    result = catalogue.write(tmp_path)
    assert (result.pages, result.pictures) == (0, 0)
    assert "No enclosure has been photographed yet" in result.index.read_text(encoding="utf-8")


def test_without_detections_the_evidence_boxes_are_drawn(tmp_path: Path) -> None:
    drawn: list[list[str]] = []

    def note(image: Any, boxes: list[Any]) -> Any:
        drawn.append([label for label, *_ in boxes])
        return image

    Catalogue().write(tmp_path, boxes=None, annotate=note)
    assert sorted(map(tuple, drawn)) == [("elosztó",), ("router <b>",), ("router <b>",)]


def test_a_picture_is_small_and_shows_its_box() -> None:
    done, large = cv2.imencode(".jpg", np.full((3000, 2000, 3), 120, np.uint8))
    assert done
    content = evidence_picture(bytes(large), [("elosztó", 0.5, 0.5, 0.5, 0.5, 0.5)], annotate)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert max(picture.shape) == LONG_SIDE
    strayed = np.abs(picture.astype(int) - 120).max(axis=2) > 40
    assert strayed[240:720, 160].mean() > 0.9, "the left edge of the box"
    assert not strayed[400:600, 250:390].any(), "the inside is left as it was"


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0), (0.5, 0.5, 1.0, 1.0), (0.99, 0.001, 0.02, 0.002)]
)
def test_boxes_at_the_edge_are_drawn_without_touching_the_original(box: tuple[float, float, float, float]) -> None:
    image = np.full((90, 120, 3), 120, np.uint8)
    drawn = annotate(image, [("a label longer than the picture is wide", None, *box)])
    assert drawn.shape == image.shape
    assert (drawn != image).any()
    assert (image == 120).all()


def test_a_picture_is_named_by_photo_and_boxes() -> None:
    box = ("router", 0.9, 0.5, 0.5, 0.1, 0.1)
    names = {picture_name(p, b, annotate) for p in "ab" for b in ([], [box], [box, box], [("hub", *box[1:])])}
    assert len(names) == 8
    assert picture_name("a", [box], annotate) in names


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_any_enclosure_id_has_a_safe_page_name_of_its_own(enclosure_id: str) -> None:
    name = page_name(enclosure_id)
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]+\.html", name)
    assert len(name) <= 255
    assert unquote(page_link(enclosure_id)) == name
    assert page_name(enclosure_id + "x") != name
