"""What the rehearsal changes in the overlay's manifests: addresses, and nothing else."""

import copy
import shutil
from typing import Any

import pytest
import yaml

from rehearsal.deployment import BUCKET_SETTINGS, _settings
from rehearsal.manifests import OVERLAY, Addresses, Manifests, as_pod, as_server, rendered, secrets
from rehearsal.object_store import ObjectStore
from rehearsal.postgresql import Database
from rehearsal.processes import ServiceError

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

CODE_PORT = 41234
DAGSTER = Database("dagster", 45678, "secret")
STORE = ObjectStore(None, "http://127.0.0.1:43210", "key", "secret key")  # type: ignore[arg-type]  # it is not asked
ADDRESSES = Addresses(_settings(DAGSTER, STORE, "http://127.0.0.1:45000"), CODE_PORT)
SERVERS = ["mlflow", "code-enclosures", "dagster-webserver"]


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return rendered(str(OVERLAY))


def differences(before: Any, after: Any, at: str = "") -> set[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() | after.keys()
        return {found for key in keys for found in differences(before.get(key), after.get(key), f"{at}/{key}")}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return {found for number, (one, other) in pairs for found in differences(one, other, f"{at}/{number}")}
    return set() if before == after else {at}


def test_only_addresses_and_the_missing_gpu_are_changed(manifests: Manifests) -> None:
    changed = manifests.at(ADDRESSES)
    kinds = {thing["kind"] for thing in manifests.without() if thing not in changed.without()}
    assert kinds == {"ConfigMap"}
    names = {thing["metadata"]["name"] for thing in manifests.without() if thing not in changed.without()}
    assert names == {"catalog-settings", "dagster-workspace", "catalog-compute"}
    settings = differences(manifests.settings(), changed.settings())
    assert settings <= {f"/{name}" for name in ADDRESSES.settings}
    assert not {"MLOPS_PROFILE", "MLOPS_STORE", "MLOPS_COMPUTE_FILE", "MLOPS_STEP_SERVICE_ACCOUNT"} & {
        name.strip("/") for name in settings
    }


def test_the_compute_file_differs_by_the_device_alone(manifests: Manifests) -> None:
    before, after = (
        yaml.safe_load(each.get("ConfigMap", "catalog-compute")["data"]["compute.yaml"])
        for each in (manifests, manifests.at(ADDRESSES))
    )
    (place,) = differences(before, after)
    assert place.startswith("/steps/detector_weights/")
    assert place.endswith("/value")


def test_dagsters_instance_is_as_it_is(manifests: Manifests) -> None:
    assert manifests.get("ConfigMap", "dagster-instance") == manifests.at(ADDRESSES).get(
        "ConfigMap", "dagster-instance"
    )


def test_the_workspace_leads_to_the_code_server(manifests: Manifests) -> None:
    changed = manifests.at(ADDRESSES).get("ConfigMap", "dagster-workspace")["data"]["workspace.yaml"]
    (location,) = yaml.safe_load(changed)["load_from"]
    assert location["grpc_server"] == {"host": "127.0.0.1", "port": CODE_PORT, "location_name": "enclosures"}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_its_deployments_pod_at_another_port(manifests: Manifests, name: str) -> None:
    deployment = manifests.get("Deployment", name)
    before = copy.deepcopy(deployment)
    pod, moved = as_pod(deployment), as_server(deployment, 45000)
    assert deployment == before
    places = differences(pod, moved)
    assert "/spec/hostNetwork" in places
    container = "/spec/containers/0"
    assert all(place.startswith((f"{container}/args/", f"{container}/env/", "/spec/hostNetwork")) for place in places)
    assert "127.0.0.1" in moved["spec"]["containers"][0]["args"]
    assert "45000" in moved["spec"]["containers"][0]["args"]


def test_the_daemon_is_as_it_is(manifests: Manifests) -> None:
    deployment = manifests.get("Deployment", "dagster-daemon")
    pod = as_pod(deployment)
    assert pod["spec"] == {"restartPolicy": "Always", **deployment["spec"]["template"]["spec"]}


def test_what_listens_otherwise_is_refused(manifests: Manifests) -> None:
    deployment = manifests.get("Deployment", "mlflow")
    deployment["spec"]["template"]["spec"]["containers"][0]["args"] = ["mlflow", "server"]
    with pytest.raises(ServiceError, match="do not listen on"):
        as_server(deployment, 45000)


def test_every_secret_that_pods_need_is_given(manifests: Manifests) -> None:
    from rehearsal.deployment import _secrets
    from rehearsal.pod_rules import references

    databases = {name: Database(name, 1, "secret") for name in ("dagster", "mlflow", "catalog")}
    given = {thing["metadata"]["name"] for thing in secrets("namespace", _secrets(databases, STORE))}
    templates = [manifests.get("Deployment", name)["spec"]["template"]["spec"] for name in [*SERVERS, "dagster-daemon"]]
    templates.append(manifests.get("Job", "catalog-migrate")["spec"]["template"]["spec"])
    wanted = {name for pod in templates for kind, name in references(pod) if kind == "Secret"}
    assert wanted - {"alert-webhook", "label-studio"} <= given
    assert {name for name in BUCKET_SETTINGS if not manifests.settings()[name].startswith("s3://")} == set()


def test_a_folder_that_is_no_overlay_is_told(tmp_path: object) -> None:
    with pytest.raises(ServiceError, match=r"kubectl kustomize .* failed"):
        rendered(str(tmp_path))
