"""The model registry on a SQLite file with local artifacts, and on a real MLflow server over HTTP."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from mlflow.exceptions import MlflowException
from mlflow_servers import file_place, serving

from resources.alias_lookup import alias_version
from resources.mlflow import MlflowTracking
from resources.mlflow_client import ensure_experiment, open_client
from resources.mlflow_pictures import delete_pictures, runs_on_datasets, shows_photos
from resources.mlflow_status import DAGSTER_RUN_TAG, MLFLOW_RUN_TAG, reconcile_statuses
from resources.model_errors import BrokenVersionError
from resources.model_registry import ModelRegistry, ModelRegistryError


@pytest.fixture(scope="session")
def sqlite(new_mlflow: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    place = file_place(folder)
    with serving(place, folder):
        yield place.address


@pytest.fixture(params=["sqlite", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def registry(uri: str, request: pytest.FixtureRequest) -> ModelRegistry:
    return ModelRegistry(tracking_uri=uri, model_name=request.node.originalname)


@pytest.fixture
def run_id(uri: str) -> str:
    client = open_client(uri)
    experiment = ensure_experiment(client, "registry", uri)
    return str(client.create_run(experiment, tags={DAGSTER_RUN_TAG: "a-dagster-run"}).info.run_id)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {"weights/best.pt": b"weights", "onnx/model.onnx": b"graph" * 1000, "class_map.json": b'{"0": "router"}'}
    local = {name: tmp_path / f"{i}.bin" for i, name in enumerate(contents)}
    for name, path in local.items():
        path.write_bytes(contents[name])
    return local


def test_version_carries_what_was_registered(
    registry: ModelRegistry, run_id: str, files: dict[str, Path], tmp_path: Path
) -> None:
    tags = {"dataset_fingerprint": "abc", "class_map": {"0": "router"}, "image_size": 416}
    info = registry.register(run_id, files, tags)
    assert (info.version, info.run_id, info.aliases) == ("1", run_id, ())
    assert info.tags["dataset_fingerprint"] == "abc"
    assert (info.json("class_map"), info.json("image_size")) == ({"0": "router"}, 416)
    assert info.tags[DAGSTER_RUN_TAG] == "a-dagster-run"
    assert set(info.files) == set(files)
    for name, path in files.items():
        fetched = registry.download("1", name, tmp_path / "cache")
        assert fetched == tmp_path / "cache" / registry.model_name / "1" / name
        assert fetched.read_bytes() == path.read_bytes()
    assert not list((tmp_path / "cache").rglob(".download-*"))


def test_champion_is_none_then_the_version_that_was_set(
    registry: ModelRegistry, run_id: str, files: dict[str, Path]
) -> None:
    assert registry.champion() is None
    assert alias_version(registry.tracking_uri, registry.model_name, "champion") is None
    first = registry.register(run_id, files, {})
    assert registry.champion() is None
    files["weights/best.pt"].write_bytes(b"better weights")
    second = registry.register(run_id, files, {})
    registry.set_champion(first.version)
    registry.set_champion(second.version)
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.aliases) == (second.version, ("champion",))
    assert [(v.version, v.aliases) for v in registry.versions()] == [("1", ()), ("2", ("champion",))]
    assert alias_version(registry.tracking_uri, registry.model_name, "champion") == second.version
    registry.set_champion(first.version)  # rollback
    assert alias_version(registry.tracking_uri, registry.model_name, "champion") == first.version
    assert registry.champion() == registry.version(first.version)


def test_retried_registration_gives_the_same_version_with_new_tags(
    registry: ModelRegistry, run_id: str, files: dict[str, Path]
) -> None:
    first = registry.register(run_id, files, {"ap50": 0.5})
    again = registry.register(run_id, files, {"ap50": 0.6, "thresholds": {"0": 0.4}})
    assert (again.version, again.json("ap50"), again.json("thresholds")) == (first.version, 0.6, {"0": 0.4})
    assert len(registry.versions()) == 1


def test_other_weights_of_the_same_run_leave_the_first_version_as_it_is(
    registry: ModelRegistry, run_id: str, files: dict[str, Path], tmp_path: Path
) -> None:
    first = registry.register(run_id, files, {})
    files["weights/best.pt"].write_bytes(b"other weights")
    second = registry.register(run_id, files, {})
    read = [registry.download(v.version, "weights/best.pt", tmp_path / "cache").read_bytes() for v in (first, second)]
    assert read == [b"weights", b"other weights"]


def test_what_is_not_there_is_named_with_what_is(
    registry: ModelRegistry, run_id: str, files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelRegistryError, match=r"no version '1'; there are: none"):
        registry.set_champion("1")
    registry.register(run_id, files, {})
    with pytest.raises(ModelRegistryError, match=r"no version '7'; there are: 1"):
        registry.version("7")
    with pytest.raises(ModelRegistryError, match=r"no version 'best'; there are: 1"):
        registry.version("best")
    with pytest.raises(ModelRegistryError, match=r"no file 'best.pt', only class_map.json, onnx/model.onnx"):
        registry.download("1", "best.pt", tmp_path)
    with pytest.raises(ModelRegistryError, match="no tag 'thresholds'"):
        registry.version("1").json("thresholds")


def test_a_file_that_is_gone_is_told_apart_from_a_store_out_of_reach(
    sqlite: str, files: dict[str, Path], tmp_path: Path
) -> None:
    client = open_client(sqlite)
    run = client.create_run(ensure_experiment(client, "gone", sqlite))
    registry = ModelRegistry(tracking_uri=sqlite, model_name="gone")
    registry.register(run.info.run_id, files, {})
    (stored,) = Path(run.info.artifact_uri).glob("model-*")
    (stored / "weights" / "best.pt").unlink()
    with pytest.raises(BrokenVersionError, match=r"weights/best.pt of model version 1 .* is gone.*Restore model-"):
        registry.download("1", "weights/best.pt", tmp_path / "cache")
    assert registry.download("1", "onnx/model.onnx", tmp_path / "cache").is_file()
    stored.rename(tmp_path / "not mounted")
    with pytest.raises(MlflowException, match="Failed to download artifacts"):
        registry.download("1", "weights/best.pt", tmp_path / "cache")


def test_damaged_artifact_is_refused_and_a_damaged_cache_is_replaced(
    sqlite: str, files: dict[str, Path], tmp_path: Path
) -> None:
    client = open_client(sqlite)
    run = client.create_run(ensure_experiment(client, "damage", sqlite))
    registry = ModelRegistry(tracking_uri=sqlite, model_name="damaged")
    registry.register(run.info.run_id, files, {})
    cached = registry.download("1", "weights/best.pt", tmp_path / "cache")
    cached.write_bytes(b"cut sh")
    assert registry.download("1", "weights/best.pt", tmp_path / "cache").read_bytes() == b"weights"
    (stored,) = Path(run.info.artifact_uri).glob("model-*/weights/best.pt")
    stored.write_bytes(b"cut sh")
    with pytest.raises(BrokenVersionError, match="is damaged"):
        registry.download("1", "weights/best.pt", tmp_path / "other cache")
    assert not list((tmp_path / "other cache").rglob("best.pt"))


def test_wrong_files_are_refused_before_anything_is_stored(sqlite: str, tmp_path: Path) -> None:
    registry = ModelRegistry(tracking_uri=sqlite, model_name="wrong")
    (tmp_path / "best.pt").write_bytes(b"weights")
    with pytest.raises(ValueError, match="no name within a model version"):
        registry.register("run", {"../best.pt": tmp_path / "best.pt"}, {})
    with pytest.raises(FileNotFoundError, match=r"to register as weights/last\.pt"):
        registry.register("run", {"weights/last.pt": tmp_path / "last.pt"}, {})
    assert registry.versions() == []


def test_dagster_step_logs_and_registers_over_http(server: str, files: dict[str, Path]) -> None:
    @dg.op
    def train(mlflow: MlflowTracking, registry: ModelRegistry) -> str:
        mlflow.log_params({f"p{i}": i for i in range(150)})
        mlflow.log_artifact(files["class_map.json"], "curves")
        assert mlflow.link().value.startswith(f"{server}/#/experiments/")
        return registry.register(mlflow.run_id, files, {}).version

    resources = {
        "mlflow": MlflowTracking(tracking_uri=server, experiment_name="http"),
        "registry": ModelRegistry(tracking_uri=server, model_name="over_http"),
    }

    @dg.job(resource_defs=resources)
    def training() -> None:
        train()

    with dg.DagsterInstance.ephemeral() as instance:
        result = training.execute_in_process(instance=instance)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert reconcile_statuses(instance, server, "http") == {run.tags[MLFLOW_RUN_TAG]: "FINISHED"}
    info = resources["registry"].version(result.output_for_node("train"))
    assert (info.run_id, info.tags[DAGSTER_RUN_TAG]) == (run.tags[MLFLOW_RUN_TAG], result.run_id)


def test_pictures_of_photos_are_deleted_and_the_version_lists_them_no_more(
    registry: ModelRegistry, run_id: str, files: dict[str, Path], tmp_path: Path
) -> None:
    client = open_client(registry.tracking_uri)
    client.log_param(run_id, "dataset_fingerprint", "held-it")
    pictures = dict.fromkeys(("training/train_batch0.jpg", "training/results.png"), tmp_path / "p.jpg")
    (tmp_path / "p.jpg").write_bytes(b"picture")
    registry.register(run_id, files | pictures, {})
    client.delete_run(run_id)  # its artifacts stay until MLflow's garbage collection
    assert runs_on_datasets(registry.tracking_uri, ["held-it", "another"]) == [run_id]
    (deleted,) = delete_pictures(registry.tracking_uri, run_id)
    assert deleted.endswith("/training/train_batch0.jpg")
    assert delete_pictures(registry.tracking_uri, run_id) == []
    registry.forget_files("1", [deleted.partition("/")[2]])
    assert set(registry.version("1").files) == {*files, "training/results.png"}
    assert registry.download("1", "training/results.png", tmp_path / "cache").read_bytes() == b"picture"
    with pytest.raises(ModelRegistryError, match="has no file"):
        registry.download("1", "training/train_batch0.jpg", tmp_path / "cache")


def test_charts_are_no_pictures_of_photos_and_what_is_not_known_may_be_one() -> None:
    charts = (
        "a/results.png",
        "labels.jpg",
        "BoxPR_curve.png",
        "confusion_matrix_normalized.png",
        "results.csv",
        "x/best.pt",
    )
    assert [name for name in charts if shows_photos(name)] == []
    assert all(shows_photos(name) for name in ("train_batch1.jpg", "a/val_batch0_pred.JPG", "new_chart.png", "x.webp"))
