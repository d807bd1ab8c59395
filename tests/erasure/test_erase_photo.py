"""The erasure job on a photo that is in a dataset and in the catalogue: nothing left, by search of everything."""

import json
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from path_support import CATALOGUE
from small_catalogue import DAYS, WHO, Small, land, make, registry_of, sha256, succeed
from upload_samples import picture

from mlops_assets.dataset.making import todays_version
from mlops_assets.dataset.restoring import kept_photos, open_version
from mlops_assets.erasure.catalogue import TABLES
from mlops_assets.erasure.rows import PARSED_LABELS
from mlops_assets.photos.intake import conservation
from resources.catalog_database import CatalogDatabase
from resources.dataset_photos import DamagedDatasetError
from resources.dataset_versions import DatasetVersions, VoidDatasetError
from resources.tables import Tables

PHOTO_NAMES = (f"{DAYS[0]}/CAB-0/a.jpg", f"{DAYS[0]}/CAB-1/again.jpg", f"{DAYS[1]}/CAB-0/later.jpg")


def text_of(path: Path) -> bytes:
    """Bytes of a file; of a Parquet file its cells as text, since they are compressed."""
    content = path.read_bytes()
    if path.suffix != ".parquet":
        return content
    return content + json.dumps(pl.read_parquet(path).to_dicts(), default=str).encode()


def files_with(folder: Path, *needles: bytes) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)) for path in files if any(n in text_of(path) or n in bytes(path) for n in needles)
    }


def events_with(instance: dg.DagsterInstance, *needles: str) -> list[str]:
    """Every column of every table of every database of the instance, but for what is about the erasing runs."""
    own = {run.run_id for run in instance.get_runs() if run.job_name == "erase_photo"}
    found = []
    for file in Path(instance.root_directory).rglob("*.db"):
        with sqlite3.connect(file) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in connection.execute(f"SELECT * FROM {table}").fetchall():  # noqa: S608 names from the catalogue
                    text = " ".join(map(str, row))
                    if any(needle in text for needle in needles) and not any(run_id in text for run_id in own):
                        found.append(f"{file.name} {table}")
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with dg.instance_for_test() as instance:
        yield make(tmp_path_factory.mktemp("home"), instance)


def rows_of_others(small: Small) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that is not the photo's own, by file; without what it repeats.

    But for the catalogue's, and what was read of label files, which goes whole: the next import reads them anew.
    """
    repeated = ("near_duplicate_of", "reused_from", "compared_with")
    tables = small.store / "tables"
    files = [path for path in sorted(tables.rglob("*.parquet")) if path.stem not in {*CATALOGUE, PARSED_LABELS}]
    rows = {str(path.relative_to(tables)): pl.read_parquet(path) for path in files}
    return {
        name: [row for row in frame.drop(repeated, strict=False).to_dicts() if small.photo_id not in str(row)]
        for name, frame in rows.items()
    }


@pytest.fixture(scope="module")
def erased(before: Small) -> Small:
    """Erased, after it was made sure that the search finds it where it should be."""
    home, photo_id = Path(before.path.settings.home), before.photo_id
    short = photo_id[:24]
    found = files_with(home, photo_id.encode(), before.content)
    for part in (
        "landing/",
        "originals/",
        "store/photos/",
        "annotations",
        "rows.parquet",
        "datasets/photos/",
        "tables/dataset_photos",
        "detections/",
        "pages/",
        "catalog.db",
    ):
        assert any(part in path for path in found), (part, found)
    assert events_with(before.path.instance, short)
    assert CatalogDatabase(url=before.path.places.catalog_database, use_case="small").rows_with(photo_id, TABLES)
    dry = before.erase(dry_run=True)
    assert files_with(home, photo_id.encode(), before.content) == found
    assert any("would_be_removed" in str(event.event_specific_data) for event in dry.all_events)
    others = rows_of_others(before)
    before.erase()
    assert rows_of_others(before) == others
    return before


def test_nothing_is_left_but_tombstone_ledger_void_mark_and_report(erased: Small) -> None:
    home, photo_id = Path(erased.path.settings.home), erased.photo_id
    left = files_with(home, photo_id.encode(), erased.content, *(name.encode() for name in PHOTO_NAMES))
    (version,) = DatasetVersions(root=str(erased.store)).fingerprints()
    assert left == {
        f"small/store/tombstones/{photo_id[:2]}/{photo_id}.json",
        f"small/store/erasures/{photo_id}.json",
        *(f"small/store/tables/raw_photos/{day}.parquet" for day in DAYS),
        f"small/store/datasets/{version}/void.json",
    }
    assert files_with(home, WHO["technician"].encode(), WHO["note"].encode()) == set()


def test_no_row_of_the_database_and_no_event_tells_of_it(erased: Small) -> None:
    database = CatalogDatabase(url=erased.path.places.catalog_database, use_case="small")
    assert database.rows_with(erased.photo_id, TABLES) == {}
    assert events_with(erased.path.instance, erased.photo_id[:24], *PHOTO_NAMES, WHO["technician"]) == []


def test_the_pictures_of_its_training_are_gone_and_the_rest_of_the_model_is_not(erased: Small) -> None:
    registry = registry_of(erased.path)
    first, second = registry.versions()
    assert set(first.files) == {"weights/best.pt", "onnx/model.onnx", "training/results.csv", "training/results.png"}
    assert "training/train_batch0.jpg" in second.files  # trained on another dataset version
    artifacts = Path(erased.path.settings.fill(erased.path.settings.mlflow_artifacts))
    assert len(list(artifacts.rglob("train_batch0.jpg"))) == 1
    assert registry.download("1", "onnx/model.onnx", Path(erased.path.settings.home) / "cache").is_file()


def test_what_an_evaluation_showed_of_it_is_gone_and_what_it_showed_of_others_is_not(erased: Small) -> None:
    artifacts = Path(erased.path.settings.fill(erased.path.settings.mlflow_artifacts))
    left = [file.name for file in artifacts.rglob("worst_misses/*")]
    assert left == [f"02-{sha256(picture(1))}.jpg"]


def test_the_report_counts_names_models_and_leaves_people_out(erased: Small) -> None:
    text = (erased.store / "erasures" / f"{erased.photo_id}.json").read_text()
    report = json.loads(text)
    assert (report["reason"], report["requested_by"]) == ("ticket 17", "privacy")
    assert report["removed"]["rows of raw_photos"] == 3
    assert report["removed"]["rows of annotations"] == 1
    assert report["removed"]["rows of new"] > 0  # a table that nobody told it of
    assert report["removed"]["MLflow pictures"] == 4
    assert report["removed"]["files of store and landing zone"] == 7
    assert {model["version"]: (model["aliases"], model["because"]) for model in report["models"]} == {
        "1": (["champion"], "trained on it"),
        "2": ([], "started from version 1"),
    }
    assert report["near_duplicates"]
    assert not any(word in text for word in ("Kovacs", "CAB-0", "a.jpg"))


def test_the_dataset_version_is_void_and_says_which_tombstone(erased: Small) -> None:
    datasets = DatasetVersions(root=str(erased.store))
    (version,) = datasets.fingerprints()
    for restore in (datasets.restore, partial(open_version, datasets)):
        with pytest.raises(VoidDatasetError, match=rf"is void.*{erased.photo_id}\.json"):
            restore(version)
    assert datasets.rows(version).height > 0
    assert list(datasets.holding(erased.photo_id)) == [version]
    dataset = erased.path.table("training_dataset")
    with pytest.raises(DamagedDatasetError, match="materialise training_dataset"):
        todays_version(dataset, datasets, Tables(root=str(erased.store)))


def test_the_bytes_that_versions_kept_of_other_photos_are_still_there(erased: Small) -> None:
    dataset = erased.path.table("training_dataset")
    assert dataset.height > 0
    read = kept_photos(dataset, DatasetVersions(root=str(erased.store)).photos())
    assert all(sha256(read(photo_id)) == read.sha256[photo_id] for photo_id in dataset["photo_id"])


def test_the_catalogue_rests_on_the_next_best_photo(erased: Small) -> None:
    catalog = erased.path.table("equipment_catalog").filter(pl.col("enclosure_id") == "CAB-0")
    assert catalog.select("quantity", "status").rows() == [(1, "confirmed")]
    assert catalog.item(0, "photo_id") in set(erased.path.table("clean_photos", DAYS[0])["photo_id"]) | set(
        erased.path.table("clean_photos", DAYS[1])["photo_id"]
    )
    rows = CatalogDatabase(url=erased.path.places.catalog_database, use_case="small").read("equipment_catalog")
    assert set(catalog["photo_id"]) <= set(rows["photo_id"])
    assert (Path(erased.path.places.pages) / "enclosures" / "CAB-0.html").exists()


def test_the_days_equation_counts_it_and_it_does_not_come_back(erased: Small) -> None:
    """Runs after the others: it ingests, imports and uploads anew."""
    for day, gone in zip(DAYS, (2, 1), strict=True):
        erased.take_in(day)
        ledger = erased.path.table("raw_photos", day)
        counts = conservation(ledger)
        assert counts["erased"] == gone
        assert counts["landed"] == sum(counts[s] for s in ("accepted", "duplicate", "quarantined", "erased"))
        rows = ledger.filter(pl.col("status") == "erased")
        told = [c for c in rows.columns if rows[c].null_count() < rows.height]
        assert set(told) == {"landing_uri", "photo_id", "byte_size", "status", "reason", "remedy"}
        assert rows["landing_uri"].str.starts_with("erased:").all()
    succeed(erased.path.import_labels())
    assert erased.photo_id not in set(erased.path.table("annotations")["photo_id"])
    quarantine = pl.read_parquet(erased.store / "tables" / "label_quarantine.parquet")
    assert "CAB-0/a" not in str(quarantine.to_dicts())


def test_uploaded_again_it_is_marked_and_the_job_removes_the_upload(erased: Small) -> None:
    landing = Path(erased.path.places.landing)
    again = land(landing / DAYS[1] / "CAB-0" / "new.jpg", erased.content)
    land(landing / DAYS[1] / "CAB-0" / "new.jpg.json", json.dumps(WHO).encode())
    erased.take_in(DAYS[1])
    row = erased.path.table("raw_photos", DAYS[1]).row(by_predicate=pl.col("landing_uri") == str(again), named=True)
    assert (row["status"], row["technician"], row["enclosure_id"]) == ("erased", None, None)
    assert "was erased on" in row["reason"]
    assert "erase_photo" in row["remedy"]
    assert not list(erased.store.glob(f"*s/{erased.photo_id[:2]}/{erased.photo_id}.jpg"))
    erased.take_in(DAYS[1])
    erased.erase()
    assert not again.exists()
    assert not again.with_name("new.jpg.json").exists()
    assert conservation(erased.path.table("raw_photos", DAYS[1]))["erased"] == 2
    assert files_with(Path(erased.path.settings.home), WHO["technician"].encode()) == set()


def test_an_unknown_photo_a_malformed_id_and_no_reason_are_refused_with_advice(erased: Small) -> None:
    for config, said in (
        ({"photo_id": "0" * 64}, "never_ingested: true"),
        ({"photo_id": "a.jpg"}, "64 hexadecimal digits"),
        ({"reason": " "}, "needs a reason"),
    ):
        result = erased.erase(succeeds=False, **config)
        failures = [event for event in result.all_events if event.is_step_failure]
        assert len(failures) == 1, "tried again"
        assert said in str(failures[0].step_failure_data)


def test_what_was_never_taken_in_is_kept_out_by_request(erased: Small) -> None:
    content = picture(77)
    erased.erase(photo_id=sha256(content), never_ingested=True)
    land(Path(erased.path.places.landing) / DAYS[1] / "CAB-3" / "late.jpg", content)
    erased.take_in(DAYS[1])
    assert conservation(erased.path.table("raw_photos", DAYS[1]))["erased"] == 3
    assert not list(erased.store.rglob(f"{sha256(content)}.jpg"))
