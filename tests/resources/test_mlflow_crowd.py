"""Eight processes that use a new MLflow at the same moment, on a SQLite file; on a server in test_mlflow_production."""

from collections.abc import Callable
from pathlib import Path

from mlflow_crowd import CROWD, METRICS, crowd, kill_while_it_makes_tables, tag_at_once

from resources.mlflow_client import open_client
from resources.mlflow_status import FIRST_RUN_TAG, search_runs
from resources.model_registry import ModelRegistry


def test_eight_processes_share_one_experiment_one_run_and_one_version_and_lose_nothing(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "best.pt").write_bytes(b"weights")
    seen = crowd(uri, tmp_path / "best.pt")
    assert len(seen) == CROWD
    (shared,) = {tuple(sorted(each.items())) for each in seen}
    experiment, run_id, version = (value for _, value in shared)
    client = open_client(uri)
    (run,) = search_runs(client, experiment, f"tags.{FIRST_RUN_TAG} = 'the Dagster run'")
    assert run.info.run_id == run_id
    logged = {name: len(client.get_metric_history(run_id, name)) for name in run.data.metrics}
    assert logged == {f"loss_{number}": METRICS for number in range(CROWD)}
    registry = ModelRegistry(tracking_uri=uri, model_name="crowd-detector")
    assert [info.version for info in registry.versions()] == [version]
    assert registry.download(version, "best.pt", tmp_path / "cache").read_bytes() == b"weights"


def test_a_kill_while_the_tables_are_made_leaves_no_half_made_file(tmp_path: Path) -> None:
    uri, file, partial = (
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        tmp_path / "mlflow.db",
        tmp_path / ".mlflow.db.partial",
    )
    kill_while_it_makes_tables(uri, partial)
    assert partial.exists()
    assert not file.exists()
    assert [experiment.name for experiment in open_client(uri).search_experiments()] == ["Default"]
    assert not partial.exists()


def test_a_tag_that_many_threads_set_first_at_once_fails_none_of_them(
    new_mlflow: Callable[[Path], str], tmp_path: Path
) -> None:
    tags = tag_at_once(new_mlflow(tmp_path), 3)
    assert set(tags) == {f"tag {tag}" for tag in range(3)}
    assert set(tags.values()) <= {str(number) for number in range(CROWD)}
