"""What a deployment and a launchpad may change of a step's pod, up to the Job that dagster-k8s would create."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.system_config.objects import ResolvedRunConfig
from hypothesis import given
from hypothesis import strategies as st

from definitions import build_defs
from mlops_assets.compute_overrides import Compute, ComputeError, Override, load_compute, step_overrides
from mlops_assets.use_case import UseCase
from resources.settings import Settings

CASE = UseCase.model_validate({"name": "case", "title": "Case", "start": "2026-10-01"})
IMAGES = {"cpu": "c:1", "gpu": "g:1"}
FIELDS_SET = ("cpu", "gpus", "node_selector", "shared_memory", "deadline_minutes")
TRAINING, PAGES, DETECTIONS = "detector_weights", "catalog_pages", "detections"


@pytest.fixture(scope="module")
def steps() -> list[dg.AssetsDefinition]:
    loaded = build_defs(Settings(profile="k8s"), CASE)
    return [*(loaded.assets or []), *(loaded.asset_checks or [])]  # type: ignore[list-item]


def job_of(steps: list[dg.AssetsDefinition], step: str, *overrides: Compute) -> Any:
    """The Job that dagster-k8s makes of a step: launcher's, step's own and overriding configuration merged."""
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
        get_user_defined_k8s_config,
    )

    launcher = UserDefinedDagsterK8sConfig(
        container_config={"volume_mounts": [{"name": "tmp", "mount_path": "/work-files"}]},
        pod_spec_config={"volumes": [{"name": "tmp", "empty_dir": {}}]},
    )
    own = get_user_defined_k8s_config(next(s.op.tags for s in steps if s.op.name == step))
    over = UserDefinedDagsterK8sConfig.from_dict(step_overrides(steps, IMAGES, *overrides)[step])
    context = K8sContainerContext(run_k8s_config=launcher)
    for config in (own, over):
        context = context.merge(K8sContainerContext(run_k8s_config=config))
    return construct_dagster_k8s_job(
        job_config=DagsterK8sJobConfig(job_image="x", dagster_home="/home"),
        args=["true"],
        job_name="job",
        user_defined_k8s_config=context.run_k8s_config,
    )


def pod_of(*arguments: Any) -> Any:
    return job_of(*arguments).spec.template.spec


def test_every_step_gets_the_image_of_its_profile(steps: list[dg.AssetsDefinition]) -> None:
    images = {name: config["container_config"]["image"] for name, config in step_overrides(steps, IMAGES).items()}
    assert {name for name, image in images.items() if image == "g:1"} == {TRAINING}
    assert len(images) == len(steps)


def test_training_asks_for_a_gpu_with_shared_memory_beside_the_launchers_volumes(
    steps: list[dg.AssetsDefinition],
) -> None:
    pod = pod_of(steps, TRAINING)
    (container,) = pod.containers
    assert container.image == "g:1"
    assert container.resources.limits == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}
    assert {volume.name: volume.empty_dir and volume.empty_dir.size_limit for volume in pod.volumes} == {
        "tmp": None,
        "dshm": "8Gi",
    }
    assert [t.key for t in pod.tolerations] == ["nvidia.com/gpu"]


def test_a_batch_step_prefers_spot_nodes_and_may_run_elsewhere(steps: list[dg.AssetsDefinition]) -> None:
    job = job_of(steps, DETECTIONS)
    affinity = job.spec.template.spec.affinity.node_affinity
    assert affinity.required_during_scheduling_ignored_during_execution is None
    (preferred,) = affinity.preferred_during_scheduling_ignored_during_execution
    assert preferred.preference.match_expressions[0].values == ["spot"]
    assert job.spec.active_deadline_seconds == 7200
    assert "nvidia.com/gpu" not in job.spec.template.spec.containers[0].resources.limits


def test_a_deployment_names_its_gpus_nodes_and_sizes(steps: list[dg.AssetsDefinition]) -> None:
    deployment = Compute.model_validate(
        {
            "profiles": {
                "gpu_train": {
                    "gpu_resource": "nvidia.com/mig-3g.40gb",
                    "gpus": 2,
                    "memory": {"limit": "64Gi"},
                    "node_selector": {"accelerator": "nvidia-h100"},
                    "shared_memory": "16Gi",
                    "deadline_minutes": 60,
                }
            },
            "steps": {PAGES: {"k8s": {"container_config": {"env": [{"name": "A", "value": "b"}]}}}},
        }
    )
    job = job_of(steps, TRAINING, deployment)
    pod = job.spec.template.spec
    resources = pod.containers[0].resources
    assert resources.limits == {
        "cpu": "8",
        "memory": "64Gi",
        "nvidia.com/gpu": "0",
        "nvidia.com/mig-3g.40gb": "2",
    }
    assert resources.requests["memory"] == "16Gi"
    assert pod.node_selector == {"accelerator": "nvidia-h100"}
    assert [v.empty_dir.size_limit for v in pod.volumes if v.name == "dshm"] == ["16Gi"]
    assert job.spec.active_deadline_seconds == 3600
    environment = {e.name: e.value for e in pod_of(steps, PAGES, deployment).containers[0].env}
    assert environment["A"] == "b"
    assert "A" not in {e.name for e in pod_of(steps, DETECTIONS, deployment).containers[0].env}


def test_a_run_goes_before_its_deployment_and_a_step_before_its_profile(steps: list[dg.AssetsDefinition]) -> None:
    deployment = Compute.model_validate(
        {"profiles": {"cpu_batch": {"cpu": {"limit": "8"}}}, "steps": {DETECTIONS: {"memory": {"limit": "12Gi"}}}}
    )
    of_run = Compute.model_validate({"steps": {DETECTIONS: {"cpu": {"limit": "16"}, "image": "c:2"}}})
    (container,) = pod_of(steps, DETECTIONS, deployment, of_run).containers
    assert (container.resources.limits["cpu"], container.resources.limits["memory"]) == ("16", "12Gi")
    assert container.image == "c:2"


def test_the_launchpad_of_every_job_takes_overrides() -> None:
    loaded = build_defs(Settings(profile="k8s"), CASE)
    job = loaded.get_repository_def().get_job("retrain_detector")
    config = {"steps": {TRAINING: {"memory": {"limit": "64Gi"}}}, "max_concurrent": 2}
    resolved = ResolvedRunConfig.build(job, {"execution": {"config": config}})
    applied = dict(resolved.execution.execution_engine_config)
    training = applied["per_step_k8s_config"][TRAINING]
    assert training["container_config"]["resources"]["limits"]["memory"] == "64Gi"
    assert applied["max_concurrent"] == 2
    assert applied["enable_owner_references"] is True
    assert applied["step_k8s_config"]["pod_spec_config"]["automount_service_account_token"] is False


def test_a_wrong_override_names_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "compute.yaml"
    path.write_text("profiles: {gpu_train: {memory: {limit: lots}}, gpu_big: {}}\n")
    with pytest.raises(ComputeError) as caught:
        load_compute(path)
    assert str(path) in str(caught.value)
    assert "profiles.gpu_train.memory.limit" in str(caught.value)
    assert "gpu_big" in str(caught.value)
    with pytest.raises(ComputeError, match=r"missing\.yaml .*cannot be read: No such file"):
        load_compute(tmp_path / "missing.yaml")
    path.write_text("profiles: [\n")
    with pytest.raises(ComputeError, match="no valid YAML"):
        load_compute(path)


def test_a_wrong_step_name_is_found_when_the_code_location_loads(tmp_path: Path) -> None:
    path = tmp_path / "compute.yaml"
    path.write_text("steps: {detection: {gpus: 1}}\n")
    with pytest.raises(ComputeError, match=r"No step is called detection; there are .*detections"):
        build_defs(Settings(profile="k8s", compute_file=path), CASE)


def test_a_cluster_without_gpus_trains_on_any_node(steps: list[dg.AssetsDefinition]) -> None:
    pod = pod_of(steps, TRAINING, Compute.model_validate({"profiles": {"gpu_train": {"gpus": 0}}}))
    assert pod.containers[0].resources.limits["nvidia.com/gpu"] == "0"
    assert (pod.node_selector, pod.tolerations) == (None, None)
    assert [volume.name for volume in pod.volumes] == ["tmp"]
    named = {"profiles": {"gpu_train": {"gpus": 0, "node_selector": {"disk": "fast"}}}}
    assert pod_of(steps, TRAINING, Compute.model_validate(named)).node_selector == {"disk": "fast"}


def test_one_file_serves_the_checks_of_every_use_case(steps: list[dg.AssetsDefinition]) -> None:
    both = {"steps": {name: {"memory": {"limit": "9Gi"}} for name in ("case__raw_photos__checks", "other__x__checks")}}
    (container,) = pod_of(steps, "case__raw_photos__checks", Compute.model_validate(both)).containers
    assert container.resources.limits["memory"] == "9Gi"


AMOUNTS = st.fixed_dictionaries(
    {}, optional={"request": st.sampled_from(["1", "500m"]), "limit": st.sampled_from(["2", "4"])}
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "cpu": AMOUNTS,
        "gpus": st.integers(0, 4),
        "node_selector": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")),
        "shared_memory": st.sampled_from(["1Gi", "2Gi"]),
        "deadline_minutes": st.integers(1, 9),
    },
)


@given(FIELDS, FIELDS)
def test_what_is_left_out_stays_and_what_is_said_last_holds(first: dict[str, Any], last: dict[str, Any]) -> None:
    base, over = Override(**first), Override(**last)
    both = over.over(base)
    assert over.over(both).model_dump() == both.model_dump()
    for name in FIELDS_SET:
        expected = getattr(over if name in over.model_fields_set else base, name)
        if name == "cpu":
            assert both.cpu.limit == (over.cpu.limit or base.cpu.limit)
            assert both.cpu.request == (over.cpu.request or base.cpu.request)
        elif name in over.model_fields_set or over.gpus != 0:
            assert getattr(both, name) == expected
    assert Override().over(base).as_k8s_config() == base.as_k8s_config()
