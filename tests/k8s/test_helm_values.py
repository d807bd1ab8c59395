"""Values for Dagster's Helm chart agree with the instance that the manifests have; Helm itself is not here."""

import yaml
from rendering import K8S

VALUES = yaml.safe_load((K8S / "helm" / "values.yaml").read_text())
INSTANCE = yaml.safe_load((K8S / "base" / "dagster.yaml").read_text())
MOUNTED_BY_THE_MANIFESTS = "instance"
"""Runs get the instance in their arguments; the chart's ConfigMap has another name."""


def test_the_launcher_is_the_same() -> None:
    chart = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    config = INSTANCE["run_launcher"]["config"]
    raw = chart["runK8sConfig"]
    ours = config["run_k8s_config"]
    ours["container_config"]["volume_mounts"] = _others(ours["container_config"]["volume_mounts"])
    ours["pod_spec_config"]["volumes"] = _others(ours["pod_spec_config"]["volumes"])
    assert {_snake(key): value for key, value in raw.items()} == ours
    assert chart["jobNamespace"] == config["job_namespace"]
    assert chart["imagePullPolicy"] == config["image_pull_policy"]
    assert [item["name"] for item in chart["envConfigMaps"]] == config["env_config_maps"]
    # The chart hands the database's password to runs by itself.
    assert [*(item["name"] for item in chart["envSecrets"]), "dagster-postgresql"] == config["env_secrets"]


def test_sections_that_the_chart_cannot_say_are_the_same() -> None:
    assert VALUES["additionalInstanceConfig"].keys() == {
        *("concurrency", "run_monitoring", "run_retries", "local_artifact_storage", "nux"),
    }
    for section, content in VALUES["additionalInstanceConfig"].items():
        assert content == INSTANCE[section], section
    assert not VALUES["dagsterDaemon"]["runMonitoring"]["enabled"]  # or the key would stand in the file twice
    assert not VALUES["dagsterDaemon"]["runRetries"]["enabled"]


def test_it_says_that_it_is_not_rendered() -> None:
    assert "NOT RENDERED BY THE TESTS" in (K8S / "helm" / "values.yaml").read_text()[:400]


def _others(items: list[dict[str, object]]) -> list[dict[str, object]]:
    return [item for item in items if item["name"] != MOUNTED_BY_THE_MANIFESTS]


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
