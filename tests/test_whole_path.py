"""The whole graph on a small render: landed photos to a catalogue that learns a new class."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from path_support import CATALOGUE, WholePath, checks_run, failed_checks, prepare, why

from demo.render.run import render_demo
from mlops_assets.catalog.schema import UNKNOWN_EQUIPMENT
from mlops_assets.class_keys import class_key
from mlops_assets.detector.schema import OLD_CLASS_CHANGE
from mlops_assets.labels.class_decisions import labels_digest
from mlops_assets.labels.drop_state import drop_digest
from mlops_assets.photos.intake import conservation
from mlops_assets.use_case import UseCase
from resources.catalog_database import CatalogDatabase
from resources.class_decisions import ClassDecisionRecords
from resources.mlflow_client import open_client
from resources.mlflow_status import MLFLOW_RUN_TAG, set_true_status
from resources.model_registry import ModelRegistry
from resources.tables import Tables
from sensors.new_equipment_classes import read_classes
from sensors.new_labels import last_import
from sensors.retraining_decisions import new_boxes

CASE = {
    "name": "small",
    "title": "Small",
    "start": "2026-10-05",
    "new_class": {"min_boxes": 2, "min_enclosures": 2},
    "training": {"image_size": 192, "epochs": 14, "retrain_epochs": 3, "batch": 2, "close_mosaic": 0, "mosaic": 0.0},
    # Shows that the path works, not that the detector is good: no floor, any fall allowed.
    "promotion": {"floor_ap50": 0.0, "tolerance": 1.0, "max_class_fall": 1.0, "bootstrap_samples": 100},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "out"
    render_demo(folder, seed=3, enclosures=12)
    return folder


@pytest.fixture(scope="module")
def days(rendered: Path) -> list[str]:
    return sorted(path.name for path in (rendered / "landing").iterdir())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, rendered: Path, days: list[str]) -> Iterator[WholePath]:
    """Everything up to the first catalogue."""
    with dg.instance_for_test() as instance:
        path = prepare(tmp_path_factory.mktemp("home"), CASE, instance)
        shutil.copytree(rendered / "landing", path.places.landing, dirs_exist_ok=True)
        shutil.copytree(rendered / "labels" / "base", Path(path.places.labels) / "base")
        for day in days:
            result = path.ingest(day)
            assert result.success, why(result)
            assert failed_checks(result) == {}
            assert checks_run(result) == {"nothing_lost", "ledger", "cleaned", "no_photo_reused", "detections"}
        for result in (path.import_labels(), path.retrain()):
            assert result.success, why(result)
            assert failed_checks(result) == {}
        for day in days:
            assert path.materialize("detections", day=day).success
        result = path.materialize(*CATALOGUE)
        assert result.success, why(result)
        assert failed_checks(result) == {}
        yield path


def test_every_landed_file_is_accounted_for(path: WholePath, rendered: Path, days: list[str]) -> None:
    ledger = pl.concat([path.table("raw_photos", day) for day in days])
    files = [p for p in (rendered / "landing").rglob("*") if p.is_file() and p.suffix != ".json"]
    counts = conservation(ledger)
    assert counts["landed"] == len(files) == counts["accepted"] + counts["duplicate"] + counts["quarantined"]
    assert min(counts["accepted"], counts["duplicate"], counts["quarantined"]) > 0
    refused = ledger.filter(pl.col("status") == "quarantined")
    assert refused.select(pl.col("reason", "remedy").null_count()).row(0) == (0, 0)


def test_dark_and_blurred_photos_are_rejected_with_advice(path: WholePath, days: list[str]) -> None:
    rejected = pl.concat([path.table("clean_photos", day) for day in days]).filter(pl.col("verdict") == "rejected")
    assert rejected.height >= len(days) * 2
    assert rejected["retake_advice"].null_count() == 0


def test_the_champion_leads_back_to_its_dataset_and_run(path: WholePath) -> None:
    decision = path.table("champion_detector").row(-1, named=True)
    weights = path.table("detector_weights").row(0, named=True)
    assert decision["promoted"], decision["reasons"]
    registry = ModelRegistry(
        tracking_uri=path.settings.fill(path.settings.mlflow_tracking_uri), model_name="small-detector"
    )
    serving = registry.champion()
    assert serving is not None
    assert serving.version == decision["champion_version"] == weights["model_version"]
    assert serving.run_id == weights["mlflow_run_id"]
    assert serving.tags["dataset_fingerprint"] == weights["dataset_fingerprint"]
    version = Path(path.places.store) / "datasets" / weights["dataset_fingerprint"]
    assert {p.name for p in version.iterdir()} == {"rows.parquet", "data.yaml", "manifest.json"}
    manifest = json.loads((version / "manifest.json").read_text())
    assert not set(manifest["splits"]["train"]["enclosures"]) & set(manifest["splits"]["test"]["enclosures"])


def test_what_was_imported_and_trained_is_recorded_so_that_sensors_ask_for_it_no_more(path: WholePath) -> None:
    imported = last_import(path.instance, CASE["name"])
    assert imported is not None
    decided = ClassDecisionRecords(root=path.places.store).ids()
    assert imported.state == labels_digest(drop_digest(path.places.labels), decided, UseCase.model_validate(CASE))
    assert (imported.succeeded, imported.photo_days) == (True, 0)
    assert imported.waiting == 1  # a label of a photo that never came
    classes = read_classes(path.table("equipment_classes"), Tables(root=path.places.store))
    (training,) = classes.trainings
    assert training.boxes == classes.boxes
    assert path.instance.get_run_by_id(training.run_id) is not None
    assert classes.missing == {}
    assert new_boxes(classes) == 0


def test_dagsters_run_and_mlflows_run_name_each_other_and_end_alike(path: WholePath) -> None:
    weights = path.table("detector_weights").row(0, named=True)
    uri = path.settings.fill(path.settings.mlflow_tracking_uri)
    run = open_client(uri).get_run(weights["mlflow_run_id"])
    dagster_run = path.instance.get_run_by_id(run.data.tags["dagster_run_id"])
    assert dagster_run is not None
    assert dagster_run.tags[MLFLOW_RUN_TAG] == weights["mlflow_run_id"]
    set_true_status(uri, CASE["name"], [dagster_run.run_id], dagster_run.status)
    assert open_client(uri).get_run(weights["mlflow_run_id"]).info.status == "FINISHED"
    assert {"val/map50", "test_map50", "export_parity"} <= set(run.data.metrics)


def test_detections_and_catalogue_are_of_the_champion(path: WholePath, days: list[str]) -> None:
    champion = path.table("champion_detector").item(-1, "champion_version")
    found = pl.concat([path.table("detections", day) for day in days])
    usable = pl.concat([path.table("clean_photos", day) for day in days]).filter(pl.col("verdict") == "usable")
    assert set(found["photo_id"]) == set(usable["photo_id"])
    assert set(found["model_version"]) == {champion}
    unknown = pl.concat(
        [Tables(root=path.places.store).read("unknown_equipment", UNKNOWN_EQUIPMENT, day) for day in days]
    )
    assert sorted(unknown["photo_id"]) == sorted(usable["photo_id"])
    assert set(unknown["model_version"]) == {champion}
    assert unknown["score"].null_count() == 0
    catalog = path.table("equipment_catalog")
    assert catalog.height > 0
    database = CatalogDatabase(url=path.places.catalog_database, use_case="small").read("equipment_catalog")
    assert database.select(catalog.columns).rows() == catalog.rows()


def test_a_registered_version_leaves_no_checkpoint_behind(path: WholePath) -> None:
    assert list((Path(path.places.store) / "checkpoints").iterdir()) == []


def test_pages_show_every_enclosure_of_the_catalogue(path: WholePath) -> None:
    index = (Path(path.places.pages) / "index.html").read_text()
    for enclosure in path.table("equipment_catalog")["enclosure_id"].unique():
        assert enclosure in index
    assert list((Path(path.places.pages) / "pictures").glob("*.jpg"))


def test_what_the_ui_shows_is_worth_opening(path: WholePath) -> None:
    for name, wanted in {
        "raw_photos": {"landed", "accepted", "quarantine", "preview", "dagster/row_count"},
        "detector_evaluation": {"precision_recall_curve", "confusion_matrix", "reliability_curve", "slices_chart"},
        "detector_weights": {"curves", "mlflow_run", "started_from", "estimated_time", "settings"},
        "detections": {"sample", "classes"},
        "equipment_catalog": {"preview", "database"},
    }.items():
        event = path.instance.get_latest_materialization_event(dg.AssetKey(["small", name]))
        assert event is not None
        assert event.asset_materialization is not None
        assert wanted <= set(event.asset_materialization.metadata), name


def test_running_a_day_again_changes_nothing(path: WholePath, days: list[str]) -> None:
    before = {name: path.table(name, days[0]) for name in ("raw_photos", "clean_photos", "detections")}
    assert path.ingest(days[0]).success
    for name, table in before.items():
        assert path.table(name, days[0]).equals(table), name


def test_a_class_never_seen_before_is_learnt_beside_the_others(
    path: WholePath, rendered: Path, days: list[str]
) -> None:
    known = set(path.table("detector_weights").pipe(lambda t: json.loads(t.item(0, "class_map"))))
    splits = dict(path.table("split_assignments").select("enclosure_id", "split").iter_rows())
    shutil.copytree(rendered / "labels" / "new_equipment", Path(path.places.labels) / "new_equipment")
    for result in (path.import_labels(), path.retrain()):
        assert result.success, why(result)
        assert failed_checks(result) == {}
    weights = path.table("detector_weights").row(0, named=True)
    learnt = json.loads(weights["class_map"])
    assert set(learnt) > known
    assert weights["started_from"].startswith("goes on from the champion")
    (new,) = map(int, set(learnt) - known)
    assert weights["started_from"].endswith(f"keeps {len(known)} of {len(known)} classes, new: {class_key(new)}")
    change = Tables(root=path.places.store).read("old_class_change", OLD_CLASS_CHANGE)
    assert change.filter("old")["class_id"].to_list() == sorted(map(int, known))
    after = dict(path.table("split_assignments").select("enclosure_id", "split").iter_rows())
    assert {enclosure: after[enclosure] for enclosure in splits} == splits
    evaluation = path.table("detector_evaluation")
    assert evaluation.filter(pl.col("split") == "test")["model_version"].n_unique() == 2
    slices = path.table("detector_slices")
    assert slices.filter(pl.col("kind") == "light")["slice"].unique().sort().to_list() == ["dark", "lit"]
    assert slices["model_version"].n_unique() == path.table("detector_curves")["model_version"].n_unique() == 2
    assert path.table("champion_detector").height == 2
    assert path.table("champion_detector").item(-1, "promoted"), path.table("champion_detector").item(-1, "reasons")
    assert path.materialize("detections", day=days[2]).success
    assert set(path.table("detections", days[2])["model_version"]) == {weights["model_version"]}
