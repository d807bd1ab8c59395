"""Deletes pictures of photos from MLflow's artifacts, which its own client cannot; used by erasure only.

Which trainings are meant is decided in `mlops_assets/erasure`.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from resources.mlflow_client import each, open_client

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_CHARTS = ("results.png", "labels.jpg")
_CHART_PARTS = ("_curve.", "confusion_matrix")


def shows_photos(path: str) -> bool:
    """Whether an artifact may be a picture of photos: every picture but the charts that Ultralytics is known to draw.

    Args:
        path: Within the run's artifacts.
    """
    name = PurePosixPath(path).name
    is_picture = PurePosixPath(name).suffix.lower() in _SUFFIXES
    return is_picture and name not in _CHARTS and not any(part in name for part in _CHART_PARTS)


def runs_on_datasets(tracking_uri: str, fingerprints: Iterable[str]) -> list[str]:
    """Ids of the MLflow runs that trained on dataset versions, finished or not, deleted ones among them."""
    from mlflow.entities import ViewType

    client = open_client(tracking_uri)
    experiments = [
        experiment.experiment_id
        for experiment in each(lambda token: client.search_experiments(ViewType.ALL, page_token=token))
    ]
    found: dict[str, None] = {}
    for fingerprint in fingerprints:
        for experiment in experiments:
            condition = f"params.dataset_fingerprint = '{fingerprint}'"
            runs = each(_page(client, experiment, condition, ViewType.ALL))
            found |= {str(run.info.run_id): None for run in runs}
    return list(found)


def delete_pictures(tracking_uri: str, run_id: str) -> list[str]:
    """Delete the pictures of photos of one run.

    Returns:
        Their paths within the run's artifacts.

    Raises:
        mlflow.exceptions.MlflowException: MLflow, or its artifact store, refuses.
    """
    client = open_client(tracking_uri)
    pictures = [path for path in _artifacts(client, run_id, None) if shows_photos(path)]
    if pictures:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(client.get_run(run_id).info.artifact_uri, tracking_uri=tracking_uri)
        for path in pictures:
            repository.delete_artifacts(path)
    return pictures


def _page(client: Any, experiment: str, condition: str, view: int) -> Any:
    return lambda token: client.search_runs([experiment], condition, run_view_type=view, page_token=token)


def _artifacts(client: Any, run_id: str, folder: str | None) -> list[str]:
    found: list[str] = []
    for entry in client.list_artifacts(run_id, folder):
        found += _artifacts(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return found
