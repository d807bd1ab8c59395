"""The code location of a deployment that has a Label Studio server."""

import json
from pathlib import Path

import dagster as dg
import pytest
from label_studio_double import TOKEN

from definitions import build_defs
from mlops_assets.compute import K8S_TAG, PROFILE_TAG
from mlops_assets.use_case import UseCase
from resources.settings import PROJECT, Settings, SettingsError, load_settings
from scripts.label_studio import server_environment, settings_of

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-01", "owner": "team:case"})


@pytest.fixture(scope="module", params=["local", "k8s"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    home = tmp_path_factory.mktemp("home")
    server = {"label_studio_url": "https://labels.example.com", "label_studio_token": TOKEN}
    return build_defs(Settings(profile=request.param, home=home, **server), CASE)


def test_the_asset_its_job_and_its_sensor_are_there(loaded: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(loaded)
    node = loaded.resolve_asset_graph().get(dg.AssetKey(["case", "label_studio_tasks"]))
    assert (node.group_name, node.owners, bool(node.code_version)) == ("labelling", ["team:case"], True)
    assert {key.path[-1] for key in node.parent_keys} == {"review_queue", "equipment_classes"}
    (sensor,) = [each for each in loaded.get_repository_def().sensor_defs if each.name == "label_studio"]
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert loaded.resolve_job_def("sync_label_studio").tags["mlops/use_case"] == "case"


def test_only_its_own_step_is_given_the_token(loaded: dg.Definitions) -> None:
    tags = {each.op.name: each.op.tags for each in loaded.assets or [] if isinstance(each, dg.AssetsDefinition)}
    given = {name for name, each in tags.items() if "env_from" in json.loads(each[K8S_TAG])["container_config"]}
    assert given == {"label_studio_tasks"}
    container = json.loads(tags["label_studio_tasks"][K8S_TAG])["container_config"]
    assert container["env_from"] == [{"secret_ref": {"name": "label-studio", "optional": True}}]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}
    assert tags["label_studio_tasks"][PROFILE_TAG] == "cpu_light"
    code_server = (PROJECT / "k8s" / "code-location" / "deployment.yaml").read_text()
    assert "secretRef: { name: label-studio, optional: true }" in code_server


def test_settings_say_what_is_wrong_and_hide_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_LABEL_STUDIO_TOKEN", TOKEN)
    assert TOKEN not in repr(load_settings())
    monkeypatch.setenv("MLOPS_LABEL_STUDIO_URL", "labels.example.com")
    with pytest.raises(SettingsError, match=r"MLOPS_LABEL_STUDIO_URL.*address of a Label Studio server"):
        load_settings()


def test_the_servers_token_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    first = settings_of(tmp_path, 8080)
    assert settings_of(tmp_path, 8081)["MLOPS_LABEL_STUDIO_TOKEN"] == first["MLOPS_LABEL_STUDIO_TOKEN"]
    folder = tmp_path / "label-studio"
    assert {path.name: path.stat().st_mode & 0o77 for path in folder.iterdir()} == {"token": 0, "settings.sh": 0}
    assert "8081" in (folder / "settings.sh").read_text()
    given = server_environment(tmp_path, "secret")
    assert given["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == str(tmp_path)
    assert given["COLLECT_ANALYTICS"] == "false"
