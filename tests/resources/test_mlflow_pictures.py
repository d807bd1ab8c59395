"""Pictures that are named by the photo they show, on a real MLflow database."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_pictures import (
    SHEET,
    delete_named_pictures,
    delete_pictures,
    log_named_pictures,
    runs_picturing,
    shows_photos,
)

ONE, TWO, THREE = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture(scope="module")
def uri(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def run_id(uri: str) -> str:
    client = open_client(uri)
    return str(client.create_run(ensure_experiment(client, "case", uri)).info.run_id)


def log(uri: str, run_id: str, folder: Path, photo_ids: Iterable[str], target: str = "evaluation/version-1") -> None:
    folder.mkdir()
    (folder / SHEET).write_bytes(b"several")
    for photo_id in photo_ids:
        (folder / f"01-{photo_id}.jpg").write_bytes(b"one")
    log_named_pictures(open_client(uri), run_id, folder, target, photo_ids)


def artifacts(uri: str, run_id: str, folder: str) -> list[str]:
    return sorted(entry.path.rsplit("/", 1)[-1] for entry in open_client(uri).list_artifacts(run_id, folder))


def test_a_photo_is_found_by_its_id_and_goes_with_the_sheet(uri: str, run_id: str, tmp_path: Path) -> None:
    log(uri, run_id, tmp_path / "first", [ONE, TWO])
    log(uri, run_id, tmp_path / "retried", [TWO, THREE], "evaluation/version-2")
    (tmp_path / "val_batch0_pred.jpg").write_bytes(b"val photos")
    open_client(uri).log_artifact(run_id, str(tmp_path / "val_batch0_pred.jpg"), "training")
    assert runs_picturing(uri, ONE) == runs_picturing(uri, THREE) == [run_id]
    assert runs_picturing(uri, "d" * 64) == []
    deleted = delete_named_pictures(uri, run_id, [ONE])
    assert sorted(deleted) == [
        f"evaluation/version-1/worst_misses/01-{ONE}.jpg",
        f"evaluation/version-1/worst_misses/{SHEET}",
        f"evaluation/version-2/worst_misses/{SHEET}",
    ]
    assert artifacts(uri, run_id, "evaluation/version-1/worst_misses") == [f"01-{TWO}.jpg"]
    assert artifacts(uri, run_id, "training") == ["val_batch0_pred.jpg"]
    assert (runs_picturing(uri, ONE), runs_picturing(uri, TWO)) == ([], [run_id])
    assert delete_named_pictures(uri, run_id, [ONE]) == []


def test_pictures_of_a_deleted_run_are_found_too(uri: str, run_id: str, tmp_path: Path) -> None:
    photo_id = "e" * 64
    log(uri, run_id, tmp_path / "first", [photo_id])
    open_client(uri).delete_run(run_id)
    assert runs_picturing(uri, photo_id) == [run_id]
    assert len(delete_named_pictures(uri, run_id, [photo_id])) == 2


def test_the_erasure_of_a_training_photo_leaves_pictures_that_are_named_by_others(
    uri: str, run_id: str, tmp_path: Path
) -> None:
    log(uri, run_id, tmp_path / "first", [ONE])
    (tmp_path / "train_batch0.jpg").write_bytes(b"train photos")
    open_client(uri).log_artifact(run_id, str(tmp_path / "train_batch0.jpg"), "training")
    assert delete_pictures(uri, run_id) == ["training/train_batch0.jpg"]
    assert len(artifacts(uri, run_id, "evaluation/version-1/worst_misses")) == 2


def test_an_evaluations_charts_show_no_photos_and_its_worst_misses_do() -> None:
    folder = "evaluation/version-3"
    charts = ("precision_recall_curve", "confusion_matrix", "confusion_matrix_champion", "reliability_curve")
    assert not any(shows_photos(f"{folder}/{name}.png") for name in (*charts, "slices_chart"))
    assert shows_photos(f"{folder}/worst_misses/{SHEET}")
