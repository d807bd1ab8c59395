"""Part of the real `racks` photos through the unchanged code: only a use case file is new."""

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from path_support import WholePath, failed_checks, prepare, why

from mlops_assets.use_case import load_use_case
from resources.settings import PROJECT

RACKS = PROJECT.parent / "shared" / "data" / "racks"
ENCLOSURES = 10
DAYS = ("2026-10-05", "2026-10-06")

pytestmark = pytest.mark.skipif(not RACKS.is_dir(), reason="the real photos of ../shared/data/racks are not here")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> WholePath:
    case = load_use_case(Path(__file__).parent / "use_cases" / "racks.yaml")
    path = prepare(tmp_path_factory.mktemp("home"), case.model_dump(), dg.DagsterInstance.ephemeral())
    for day in DAYS:
        for enclosure in sorted((RACKS / "landing" / day).iterdir())[:ENCLOSURES]:
            shutil.copytree(enclosure, Path(path.places.landing) / day / enclosure.name)
    Path(path.places.labels).mkdir()
    shutil.copy(RACKS / "labels" / "day1-2.coco.json", path.places.labels)
    return path


def test_real_photos_are_landed_labelled_and_trained_on(path: WholePath) -> None:
    for day in DAYS:
        result = path.ingest(day)
        assert result.success, why(result)
        assert failed_checks(result) == {}
        files = list((Path(path.places.landing) / day).rglob("*.jpg"))
        assert path.table("raw_photos", day)["status"].to_list() == ["accepted"] * len(files)

    result = path.import_labels()
    assert result.success, why(result)
    assert failed_checks(result) == {}
    annotations, classes = path.table("annotations"), path.table("equipment_classes")
    assert annotations.height > 50
    assert classes.filter(pl.col("status") == "active").height >= 5

    result = path.retrain()
    assert result.success, why(result)
    assert failed_checks(result) == {}
    dataset = path.table("training_dataset")
    assert set(dataset["split"]) == {"train", "val", "test"}
    decision = path.table("champion_detector").row(-1, named=True)
    assert decision["model_version"] == "1"
    assert not decision["promoted"]  # one epoch teaches nothing, and the gate says so
    assert any(reason.startswith("(d) failed") for reason in decision["reasons"])
    assert decision["champion_version"] is None
