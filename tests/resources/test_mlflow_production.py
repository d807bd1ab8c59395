"""MLflow as in production: a server on PostgreSQL that passes artifacts on to an object store."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mlflow_servers import ServerPlace, serving

from rehearsal.object_store import ObjectStore, running_object_store
from rehearsal.postgresql import Database, running_postgresql
from rehearsal.processes import free_port
from resources.alias_lookup import alias_version
from resources.mlflow_address import MlflowUnavailableError
from resources.mlflow_client import ensure_experiment, open_client

pytestmark = pytest.mark.production


@dataclass(frozen=True)
class Production:
    """The server, and what stands behind it."""

    place: ServerPlace
    database: Database
    store: ObjectStore


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    with (
        running_postgresql(folder, ["mlflow"]) as postgresql,
        running_object_store(folder, ["mlflow"]) as store,
    ):
        database = postgresql.databases["mlflow"]
        yield Production(
            ServerPlace(free_port(), database.url, "s3://mlflow/artifacts", store.environment), database, store
        )


@pytest.fixture(scope="module")
def server(production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(production.place, tmp_path_factory.mktemp("server")):
        yield production.place.address


def test_the_server_and_its_database_tell_the_same_version_behind_an_alias(server: str, production: Production) -> None:
    client = open_client(server)
    run = client.create_run(ensure_experiment(client, "aliases", server))
    client.create_registered_model("racks-detector")
    for _ in range(2):
        client.create_model_version("racks-detector", f"{run.info.artifact_uri}/model", run.info.run_id)
    uris = (server, production.database.url)
    assert [alias_version(uri, "racks-detector", "champion") for uri in uris] == [None, None]
    for version in ("1", "2", "1"):
        client.set_registered_model_alias("racks-detector", "champion", version)
        assert [alias_version(uri, "racks-detector", "champion") for uri in uris] == [version, version]


def test_a_database_that_is_away_is_named_without_its_password(production: Production) -> None:
    gone = production.database.url.replace(f":{production.database.port}/", f":{free_port()}/")
    with pytest.raises(MlflowUnavailableError, match="refused") as told:
        alias_version(gone, "racks-detector", "champion")
    assert production.database.password not in str(told.value)
