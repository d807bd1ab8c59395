"""The snippets of docs/reuse.md, in a process where importing Dagster fails: intake, labels, training, inventory."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.render.run import render_demo
from resources.settings import PROJECT

RACKS = PROJECT.parent / "shared" / "data" / "racks"
PLAIN_PROCESS = Path(__file__).parent / "plain_process.py"
COMPONENTS = (
    "Photo intake.",
    "Judging a photo before it is uploaded.",
    "Label import.",
    "Detector training.",
    "Inventory.",
)

FIGURES = """
import json
from mlops_assets.boxes import BOX_COLUMNS

# What was labelled, counted as if a detector had found it: the same component, with numbers that can be checked.
found = labelled.select("photo_id", "class_id", *BOX_COLUMNS).with_columns(
    confidence=pl.lit(1.0), model_version=pl.lit("labels")
)
counted = visit_inventory(
    found.select(detections.columns), photos, thresholds={}, rules=InventoryRules(min_usable_photos=1)
)
by_photo = found.drop_nulls("class_id").group_by("photo_id", "class_id").len()
best = by_photo.join(photos, on="photo_id").group_by("visit_id", "class_id").agg(pl.max("len").alias("best"))
seen = counted.filter(pl.col("status") == "confirmed").join(best, on=["visit_id", "class_id"], how="full")
Path("figures.json").write_text(json.dumps({
    "days": {day: conservation(table) for day, table in raw.items()},
    "stored": sum(store.has_photo(photo_id) for photo_id in photos["photo_id"]),
    "cleaned": photos.height,
    "boxes": imported.annotations["class_id"].count(),
    "active": classes.filter(pl.col("status") == "active").height,
    "class_map": {str(key): name for key, name in class_map.items()},
    "splits": dict(dataset.group_by("split").agg(pl.n_unique("photo_id")).rows()),
    "files": {name: path.stat().st_size for name, path in candidate.files.items()},
    "origin": candidate.origin,
    "parity": candidate.metrics["export_parity"],
    "looked_at": detections["photo_id"].n_unique(),
    "usable": usable.height,
    "inventory": inventory.height,
    "confirmed": seen.height,
    "wrong": seen.filter(pl.col("quantity").ne_missing(pl.col("best"))).height,
}))
"""


@dataclass(frozen=True)
class Landed:
    """A working folder with landing and labels, and how many photo files were landed."""

    folder: Path
    files: int


def snippets() -> dict[str, str]:
    """Python blocks of the page by the bold words that introduce them."""
    page = (PROJECT / "docs" / "reuse.md").read_text()
    return dict(re.findall(r"^\*\*(.+?)\*\*.*?^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))


def run_plain(script: str, folder: Path) -> None:
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, PLAIN_PROCESS, folder / "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def rendered(folder: Path) -> Landed:
    render_demo(folder / "rendered", seed=3, enclosures=8)
    (folder / "rendered" / "landing").rename(folder / "landing")
    (folder / "rendered" / "labels" / "base").rename(folder / "labels")
    return Landed(folder, _photo_files(folder / "landing"))


def racks(folder: Path) -> Landed:
    if not RACKS.is_dir():
        pytest.skip("the real photos of ../shared/data/racks are not here")
    day = "2026-10-05"
    for enclosure in sorted((RACKS / "landing" / day).iterdir())[:10]:
        shutil.copytree(enclosure, folder / "landing" / day / enclosure.name)
    shutil.copytree(RACKS / "labels", folder / "labels")
    return Landed(folder, _photo_files(folder / "landing"))


def _photo_files(landing: Path) -> int:
    return len([path for path in landing.rglob("*") if path.is_file() and path.suffix != ".json"])


@pytest.fixture(scope="module", params=[rendered, racks], ids=["rendered", "racks"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Landed, dict[str, Any]]:
    """The four components, one after the other, and the figures that came of them."""
    landed = request.param(tmp_path_factory.mktemp("plain"))
    run_plain("\n".join([*(snippets()[name] for name in COMPONENTS), FIGURES]), landed.folder)
    return landed, json.loads((landed.folder / "figures.json").read_text())


def test_photos_are_taken_in(told: tuple[Landed, dict[str, Any]]) -> None:
    landed, figures = told
    assert sum(day["landed"] for day in figures["days"].values()) == landed.files > 20
    accepted = sum(day["accepted"] for day in figures["days"].values())
    assert figures["stored"] == figures["cleaned"] == accepted
    assert len(list((landed.folder / "store" / "photos").rglob("*.jpg"))) == accepted


def test_labels_are_imported(told: tuple[Landed, dict[str, Any]]) -> None:
    _, figures = told
    assert figures["boxes"] > 50
    assert figures["active"] == len(figures["class_map"]) >= 3


def test_a_detector_is_trained_and_exported(told: tuple[Landed, dict[str, Any]]) -> None:
    _, figures = told
    assert min(figures["splits"][split] for split in ("train", "val", "test")) > 0
    assert figures["files"]["weights/best.pt"] > 1_000_000
    assert figures["files"]["onnx/model.onnx"] > 1_000_000
    assert figures["origin"]["started_from_kind"] == "bundled"
    assert len(figures["origin"]["started_from_sha256"]) == 64


def test_an_inventory_is_counted(told: tuple[Landed, dict[str, Any]]) -> None:
    _, figures = told
    assert figures["looked_at"] == figures["usable"] > 20
    assert figures["confirmed"] > 10
    assert figures["wrong"] == 0


def test_the_page_shows_every_component() -> None:
    assert tuple(snippets()) == COMPONENTS
    assert not [name for name, code in snippets().items() if "import dagster" in code]


def test_every_plain_module_can_be_imported_without_dagster(tmp_path: Path) -> None:
    names = ("photos", "labels", "dataset", "detector", "catalog", "monitoring")
    stages = [PROJECT / "mlops_assets" / stage for stage in names]
    with_dagster = ("assets", "champion_assets", "checks", "__main__")
    plain = [p for folder in stages for p in sorted(folder.glob("*.py")) if p.stem not in with_dagster]
    assert len(plain) > 40
    modules = [".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__") for path in plain]
    run_plain(f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)\n", tmp_path)


def test_the_block_blocks(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="dagster is blocked in this process"):
        run_plain("import resources.photo_store", tmp_path)
