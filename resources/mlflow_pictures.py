"""Pictures of photos among MLflow's artifacts: logged so that an erasure finds them, and deleted by it.

MLflow's own client cannot delete an artifact. Which trainings are meant is decided in `mlops_assets/erasure`; what the
pictures show, in the stage that draws them.
"""

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from resources.mlflow_client import each, open_client

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_CHARTS = ("results.png", "labels.jpg")
_CHART_PARTS = ("_curve.", "confusion_matrix", "slices_chart")

NAMED_BY_PHOTO = "worst_misses"
"""Folder of pictures that are named by the photo that they show."""

SHEET = "sheet.jpg"
"""In NAMED_BY_PHOTO: several photos on one picture."""

_PICTURED = "pictured_photos"
"""On a run: the photo_ids of all pictures in NAMED_BY_PHOTO, by which the run is found."""


def shows_photos(path: str) -> bool:
    """Whether an artifact may be a picture of photos: every picture but the charts that Ultralytics is known to draw.

    Args:
        path: Within the run's artifacts.
    """
    name = PurePosixPath(path).name
    is_picture = PurePosixPath(name).suffix.lower() in _SUFFIXES
    return is_picture and name not in _CHARTS and not any(part in name for part in _CHART_PARTS)


def log_named_pictures(client: Any, run_id: str, folder: Path, target: str, photo_ids: Iterable[str]) -> None:
    """Store pictures that are named by photo_id, and SHEET, with a run.

    Args:
        client: Of `mlflow_client.open_client`.
        run_id: An MLflow run that goes on.
        folder: Holds the pictures.
        target: Folder of the run's artifacts, above NAMED_BY_PHOTO.
        photo_ids: All photos that are shown.
    """
    known = client.get_run(run_id).data.tags.get(_PICTURED, "").split()
    # Before the pictures: one that no tag tells of would stay when its photo is erased.
    client.set_tag(run_id, _PICTURED, " ".join(sorted({*known, *photo_ids})))
    client.log_artifacts(run_id, str(folder), f"{target}/{NAMED_BY_PHOTO}")


def runs_picturing(tracking_uri: str, photo_id: str) -> list[str]:
    """Ids of the MLflow runs that have a picture named by a photo, deleted ones among them."""
    return _runs(tracking_uri, f"tags.{_PICTURED} LIKE '%{photo_id}%'")


def delete_named_pictures(tracking_uri: str, run_id: str, photo_ids: Collection[str]) -> list[str]:
    """Delete what one run shows of some photos, and its sheets, on which they may be.

    Returns:
        Their paths within the run's artifacts.

    Raises:
        mlflow.exceptions.MlflowException: MLflow, or its artifact store, refuses.
    """
    client = open_client(tracking_uri)
    pictures = [
        path
        for path in _artifacts(client, run_id, None)
        if _is_named(path) and (path.endswith(f"/{SHEET}") or any(photo_id in path for photo_id in photo_ids))
    ]
    _delete(client, tracking_uri, run_id, pictures)
    run = client.get_run(run_id)
    if run.info.lifecycle_stage == "active":  # MLflow refuses to change a deleted one
        kept = [photo_id for photo_id in run.data.tags.get(_PICTURED, "").split() if photo_id not in photo_ids]
        client.set_tag(run_id, _PICTURED, " ".join(kept))
    return pictures


def runs_on_datasets(tracking_uri: str, fingerprints: Iterable[str]) -> list[str]:
    """Ids of the MLflow runs that trained on dataset versions, finished or not, deleted ones among them."""
    conditions = [f"params.dataset_fingerprint = '{fingerprint}'" for fingerprint in fingerprints]
    return _runs(tracking_uri, *conditions)


def delete_pictures(tracking_uri: str, run_id: str) -> list[str]:
    """Delete the pictures of photos of one run, but those that are named by their photo.

    Returns:
        Their paths within the run's artifacts.

    Raises:
        mlflow.exceptions.MlflowException: MLflow, or its artifact store, refuses.
    """
    client = open_client(tracking_uri)
    pictures = [path for path in _artifacts(client, run_id, None) if shows_photos(path) and not _is_named(path)]
    _delete(client, tracking_uri, run_id, pictures)
    return pictures


def _is_named(path: str) -> bool:
    return PurePosixPath(path).parent.name == NAMED_BY_PHOTO


def _delete(client: Any, tracking_uri: str, run_id: str, paths: list[str]) -> None:
    if not paths:
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(client.get_run(run_id).info.artifact_uri, tracking_uri=tracking_uri)
    for path in paths:
        repository.delete_artifacts(path)


def _runs(tracking_uri: str, *conditions: str) -> list[str]:
    """Ids of the runs of all experiments for which one of the conditions holds, deleted ones among them."""
    from mlflow.entities import ViewType

    client = open_client(tracking_uri)
    experiments = [
        experiment.experiment_id
        for experiment in each(lambda token: client.search_experiments(ViewType.ALL, page_token=token))
    ]
    found: dict[str, None] = {}
    for condition in conditions:
        for experiment in experiments:
            runs = each(_page(client, experiment, condition, ViewType.ALL))
            found |= {str(run.info.run_id): None for run in runs}
    return list(found)


def _page(client: Any, experiment: str, condition: str, view: int) -> Any:
    return lambda token: client.search_runs([experiment], condition, run_view_type=view, page_token=token)


def _artifacts(client: Any, run_id: str, folder: str | None) -> list[str]:
    found: list[str] = []
    for entry in client.list_artifacts(run_id, folder):
        found += _artifacts(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return found
