"""A photo that was labelled before a class existed: not its negative, and offered again."""

import datetime as dt
import json
import os
from pathlib import Path

import polars as pl

from mlops_assets.labels.class_decisions import FROM_COMMAND, new_decision
from mlops_assets.labels.importing import import_labels
from mlops_assets.labels.relabelling import PHOTOS_TO_RELABEL, photos_to_relabel
from mlops_assets.labels.schema import ANNOTATIONS, EQUIPMENT_CLASSES
from mlops_assets.labels.vocabulary import equipment_classes
from mlops_assets.use_case import NewClassRules

RULES = NewClassRules(min_boxes=1, min_enclosures=1)
PHOTOS = pl.DataFrame(
    {
        "photo_id": [f"p{n}" for n in range(5)],
        "enclosure_id": ["E0", "E0", "E1", "E2", "E2"],
        "landing_uri": [f"/landing/2026-10-05/E{n}/IMG_{n}.jpg" for n in range(5)],
        "width": [1280] * 5,
        "height": [960] * 5,
    }
)


class Drop:
    """A label drop of Label Studio exports, one entry a day, and its two tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.annotations = pl.DataFrame(schema=ANNOTATIONS)
        self.classes = pl.DataFrame(schema=EQUIPMENT_CLASSES)
        self.decisions = []

    def put(self, day: int, labels: dict[int, list[str]], name: str = "") -> "Drop":
        value = {"x": 10, "y": 10, "width": 10, "height": 10}
        tasks = [
            {
                "data": {"image": f"E{photo}/IMG_{photo}.jpg"},
                "annotations": [
                    {
                        "created_at": f"2026-10-{day:02d}T08:00:00Z",
                        "result": [
                            {
                                "type": "rectanglelabels",
                                "original_width": 1280,
                                "original_height": 960,
                                "value": {**value, "rectanglelabels": [label]},
                            }
                            for label in found
                        ],
                    }
                ],
            }
            for photo, found in labels.items()
        ]
        path = self.folder / (name or f"day{day}.json")
        path.write_text(json.dumps(tasks))
        os.utime(path, (day, day))
        return self.read()

    def read(self) -> "Drop":
        self.annotations = import_labels(
            self.folder,
            photos=PHOTOS,
            previous=self.annotations,
            known_classes=self.classes,
            declared=(),
            now=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
            decisions=self.decisions,
        ).annotations
        self.classes = equipment_classes(self.annotations, PHOTOS, self.classes, (), RULES, self.decisions)
        return self

    def decide(self, decision: str, of: str, to: str) -> "Drop":
        at = dt.datetime(2026, 10, 20, len(self.decisions), tzinfo=dt.UTC)
        self.decisions.append(new_decision(decision, of, to, by="a", at=at, why="w", source=FROM_COMMAND))
        return self.read()

    def offered(self) -> list[tuple]:
        found = photos_to_relabel(self.annotations, PHOTOS, self.classes)
        assert found.schema == PHOTOS_TO_RELABEL
        return found.select("photo_id", "not_looked_for", "reason").rows()

    def versions(self) -> dict[str, int]:
        return dict(self.annotations.select("photo_id", "class_map_version").iter_rows())


def test_photos_whose_enclosure_shows_the_class_are_offered_first(tmp_path: Path) -> None:
    drop = Drop(tmp_path).put(1, {0: ["fan"], 2: ["fan", "router"], 3: []})
    assert drop.offered() == []
    drop.put(2, {1: ["fan", "arrester"], 4: ["fan"]})
    assert drop.offered() == [
        ("p0", [2], "labelled before arrester existed, which another photo of E0 shows"),
        ("p2", [2], "labelled before arrester existed"),
        ("p3", [2], "labelled before arrester existed"),
    ]
    drop.put(3, {1: ["fan", "arrester", "meter"], 0: ["fan", "arrester"]})
    assert drop.offered()[0] == ("p2", [2, 3], "labelled before arrester and meter existed")


def test_looking_again_takes_a_photo_off_the_list(tmp_path: Path) -> None:
    drop = Drop(tmp_path).put(1, {0: ["fan"]}).put(2, {1: ["arrester"]})
    assert [row[0] for row in drop.offered()] == ["p0"]
    assert drop.put(3, {0: ["fan"]}).offered() == []


def test_what_was_looked_for_outlasts_merges_renames_and_further_exports(tmp_path: Path) -> None:
    drop = Drop(tmp_path).put(1, {0: ["psu"], 2: ["fan"]}).put(2, {1: ["power supply"]})
    before = drop.versions()
    assert before == {"p0": 2, "p1": 3, "p2": 2}
    drop.decide("rename", "fan", "ventilator").decide("merge", "psu", "power supply")
    assert drop.versions() == before
    # psu was looked for on p2, so the power supply was: it is the same thing.
    assert drop.offered() == []
    (tmp_path / "day1.json").rename(tmp_path / "export-of-november.json")
    drop.put(4, {3: ["meter"]})
    assert drop.versions() == before | {"p3": 4}
    assert [row[:2] for row in drop.offered()] == [("p0", [3]), ("p1", [3]), ("p2", [3])]


def test_a_name_that_waits_in_review_is_not_asked_for_until_it_is_active(tmp_path: Path) -> None:
    drop = Drop(tmp_path).put(1, {0: ["router"], 2: []}).put(2, {1: ["rooter"], 3: ["meter"]})
    assert [row[1] for row in drop.offered()] == [[2], [2]]
    drop.decisions.append(
        new_decision("accept", "rooter", None, by="a", at=dt.datetime(2026, 10, 20), why="w", source=FROM_COMMAND)
    )
    drop.read()
    assert drop.offered()[0][1:] == ([1, 2], "labelled before rooter existed, which another photo of E0 shows")
