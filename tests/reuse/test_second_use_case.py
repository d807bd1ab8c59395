"""Two use cases in one Dagster instance, one MLflow, one catalogue database; the second is only a YAML file.

The first looks at rendered cabinets. The second looks at blood cells, of ../shared/data/bccd_voc, three photos to a
slide, and starts from the first one's champion.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml
from path_support import CATALOGUE, WholePath, failed_checks, why

import definitions
from demo.render.run import render_demo
from mlops_assets.use_case import load_use_case, registered_model
from resources.catalog_database import CatalogDatabase
from resources.mlflow_client import open_client
from resources.model_registry import ModelRegistry, ModelVersionInfo
from resources.settings import PROJECT, Settings, load_settings

CELLS = PROJECT.parent / "shared" / "data" / "bccd_voc"
BAD_BOXES = ("BloodImage_00338", "BloodImage_00343")
SLIDES, PHOTOS_A_SLIDE = 9, 3
DAY = "2026-10-05"

SMALL = {
    "start": DAY,
    "new_class": {"min_boxes": 2, "min_enclosures": 2},
    "training": {"image_size": 160, "epochs": 8, "batch": 2, "mosaic": 0.0, "close_mosaic": 0},
    # Shows that the path works, not that the detector is good: no floor, any fall allowed.
    "promotion": {"floor_ap50": 0.0, "tolerance": 1.0, "max_class_fall": 1.0, "bootstrap_samples": 100},
}
FIRST = {"name": "enclosures", "title": "Enclosures", **SMALL}
SECOND = {
    "name": "blood_cells",
    "title": "Blood cells",
    **SMALL,
    "training": {**SMALL["training"], "start_from": "enclosures"},
    "quality": {"min_sharpness": 0},
}

pytestmark = pytest.mark.skipif(not CELLS.is_dir(), reason="the photos of ../shared/data/bccd_voc are not here")


@dataclass(frozen=True)
class Two:
    """Both use cases after a training and a catalogue of each."""

    first: WholePath
    second: WholePath

    def registry(self, path: WholePath) -> ModelRegistry:
        uri = path.settings.fill(path.settings.mlflow_tracking_uri)
        return ModelRegistry(tracking_uri=uri, model_name=registered_model(path.use_case.name))

    def champion(self, path: WholePath) -> ModelVersionInfo:
        found = self.registry(path).champion()
        assert found is not None
        return found


def land_cells(path: WholePath) -> None:
    """Arrange photos as the landing zone wants them, and their labels as the annotators left them."""
    others = sorted(p.stem for p in (CELLS / "images").glob("*.jpg") if p.stem not in BAD_BOXES)
    chosen = [*BAD_BOXES, *others][: SLIDES * PHOTOS_A_SLIDE]
    labels = Path(path.places.labels)
    labels.mkdir(parents=True)
    for number, name in enumerate(chosen):
        slide = Path(path.places.landing) / DAY / f"SLIDE-{number % SLIDES:02d}"
        slide.mkdir(parents=True, exist_ok=True)
        shutil.copy(CELLS / "images" / f"{name}.jpg", slide)
        (source,) = CELLS.rglob(f"{name}.xml")
        shutil.copy(source, labels)


def run_through(path: WholePath) -> None:
    """From landed photos to the catalogue."""
    for result in (path.ingest(DAY), path.import_labels(), path.retrain()):
        assert result.success, why(result)
        assert failed_checks(result) == {}
    for result in (path.materialize("detections", day=DAY), path.materialize(*CATALOGUE)):
        assert result.success, why(result)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    home, rendered = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("rendered") / "out"
    folder = home / "use_cases"
    folder.mkdir()
    for case in (FIRST, SECOND):
        (folder / f"{case['name']}.yaml").write_text(yaml.safe_dump(case))
    settings = Settings(home=home, use_case_folder=folder, threads=2)
    with dg.instance_for_test() as instance:
        first, second = (
            WholePath(settings, load_use_case(folder / f"{case['name']}.yaml"), instance) for case in (FIRST, SECOND)
        )
        render_demo(rendered, seed=3, enclosures=8)
        shutil.copytree(rendered / "landing" / DAY, Path(first.places.landing) / DAY)
        shutil.copytree(rendered / "labels" / "base", Path(first.places.labels) / "base")
        run_through(first)
        land_cells(second)
        run_through(second)
        yield Two(first, second)


def test_the_second_starts_from_the_firsts_champion(two: Two) -> None:
    origin, started = two.champion(two.first), two.champion(two.second)
    weights = two.second.table("detector_weights").row(0, named=True)
    assert f"starts from enclosures-detector version {origin.version}" in weights["started_from"]
    assert weights["started_from"].endswith("without its classes")
    lineage = {
        "started_from_kind": "other_champion",
        "started_from_model": "enclosures-detector",
        "started_from_version": origin.version,
        "started_from_sha256": origin.files["weights/best.pt"],
    }
    assert lineage.items() <= started.tags.items()
    run = open_client(two.registry(two.second).tracking_uri).get_run(weights["mlflow_run_id"])
    assert lineage.items() <= run.data.tags.items()
    event = two.second.instance.get_latest_materialization_event(dg.AssetKey(["blood_cells", "detector_weights"]))
    assert event is not None
    assert event.asset_materialization is not None
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert lineage.items() <= shown.items()
    assert shown["started_from"] == weights["started_from"]


def test_the_same_ids_are_other_classes(two: Two) -> None:
    maps = [dict(two.champion(path).json("class_map")) for path in (two.first, two.second)]
    assert set(maps[0]) & set(maps[1]), "the ids that both give"
    assert not set(maps[0].values()) & set(maps[1].values())
    assert set(maps[1].values()) == {"RBC", "WBC", "Platelets"}


def test_boxes_without_size_are_quarantined(two: Two) -> None:
    refused = pl.read_parquet(Path(two.second.places.store) / "tables" / "label_quarantine.parquet")
    sources = set(refused["source"])
    assert sources == {f"{name}.xml" for name in BAD_BOXES}
    assert two.second.table("annotations")["photo_id"].n_unique() == SLIDES * PHOTOS_A_SLIDE


def test_nothing_of_one_lies_with_the_other(two: Two) -> None:
    first, second = two.first, two.second
    for place in ("landing", "labels", "store", "pages"):
        assert getattr(first.places, place) != getattr(second.places, place), place
    assert {p.name for p in Path(first.settings.home).iterdir() if (p / "store").is_dir()} == {
        "enclosures",
        "blood_cells",
    }
    keys = {key.path[0] for key in first.instance.all_asset_keys()}
    assert keys == {"enclosures", "blood_cells"}
    client = open_client(two.registry(first).tracking_uri)
    assert {e.name for e in client.search_experiments()} - {"Default"} == {"enclosures", "blood_cells"}
    models = {m.name: {alias: str(v) for alias, v in m.aliases.items()} for m in client.search_registered_models()}
    assert models == {
        "enclosures-detector": {"champion": two.champion(first).version},
        "blood_cells-detector": {"champion": two.champion(second).version},
    }


def test_both_catalogues_are_in_the_one_database(two: Two) -> None:
    assert two.first.places.catalog_database == two.second.places.catalog_database
    for path in (two.first, two.second):
        database = CatalogDatabase(url=path.places.catalog_database, use_case=path.use_case.name)
        assert path.table("equipment_catalog").height > 0
        for name in ("visit_inventory", "equipment_catalog", "equipment_changes"):
            own = path.table(name)
            assert database.read(name).select(own.columns).rows() == own.rows(), name


def test_runs_of_the_two_do_not_wait_for_each_other(two: Two) -> None:
    runs = {path.use_case.name: path.instance.get_runs(_of(path, "ingest_day")) for path in (two.first, two.second)}
    assert {name: len(found) for name, found in runs.items()} == {"enclosures": 1, "blood_cells": 1}
    assert {run.tags["mlops/one_at_a_time"] for found in runs.values() for run in found} == {
        "enclosures/ingest_day",
        "blood_cells/ingest_day",
    }


def _of(path: WholePath, job: str) -> dg.RunsFilter:
    return dg.RunsFilter(job_name=job, tags={"mlops/use_case": path.use_case.name})


def test_each_is_an_attribute_of_the_definitions(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(two.first.settings.home))
    monkeypatch.setenv("MLOPS_USE_CASE_FOLDER", str(two.first.settings.use_case_folder))
    assert load_settings().home == two.first.settings.home
    found = [
        getattr(definitions, name).resolve_asset_graph().get_all_asset_keys() for name in ("enclosures", "blood_cells")
    ]
    assert [{key.path[0] for key in keys} for keys in found] == [{"enclosures"}, {"blood_cells"}]
    assert len(found[0]) == len(found[1])
