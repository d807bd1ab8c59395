"""The table of step pods, and what a rehearsal refuses."""

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rehearsal.cluster.records import PodRecord
from rehearsal.pod_rules import violations
from rehearsal.proofs import Proofs, _ended_well, _gpus
from rehearsal.step_pods import StepPod, step_pods, steps_table, write_steps

CPU, GPU = "registry.example.com/enclosure-catalog-cpu:1", "registry.example.com/enclosure-catalog-gpu:1"
CPU_LIMITS = {"cpu": "1", "memory": "2Gi"}
GPU_LIMITS = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}


def record(op: str, **more: Any) -> PodRecord:
    now = time.time()
    defaults: dict[str, Any] = {
        "pod": f"{op}-1",
        "job": f"{op}-job",
        "component": "step_worker",
        "op": op,
        "dagster_job": "job",
        "run_id": "run",
        "attempt": 1,
        "image": CPU,
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": CPU_LIMITS,
        "account": "dagster-step",
        "token_mounted": False,
        "node_selector": {},
        "tolerations": [],
        "affinity": {},
        "volumes": [],
        "mounts": {},
        "security": {},
        "deadline_seconds": 60,
        "enforced": [],
        "created": now,
        "started": now + 1,
        "ended": now + 5,
        "phase": "Succeeded",
    }
    return PodRecord(**{**defaults, **more})


TRAINING = record("case__detector_weights", image=GPU, limits=GPU_LIMITS)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.mark.parametrize("name", ["case__detector_weights", "detector_weights"])
def test_only_training_may_ask_for_a_gpu(name: str) -> None:
    proofs = Proofs()
    _gpus(proofs, [dataclasses.replace(TRAINING, op=name), record("case__raw_photos")])
    assert proofs.failures == []
    assert proofs.found == ["1 of 2 step pods asked for a GPU: detector_weights"]


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([TRAINING, record("case__detections", limits=GPU_LIMITS)], "case/detections asks for 1 GPUs"),
        ([record("case__detector_weights", image=GPU)], "case/detector_weights asks for 0 GPUs"),
        ([TRAINING, record("case__raw_photos", image=GPU)], "case/raw_photos runs in"),
        ([dataclasses.replace(TRAINING, image=CPU)], "case/detector_weights runs in"),
        ([TRAINING, record("case__detector_weights__checks", limits=GPU_LIMITS)], "checks asks for 1 GPUs"),
        ([record("case__raw_photos")], "no step pod asked for a GPU"),
    ],
)
def test_what_is_wrong_with_gpus_and_images_is_told(records: list[PodRecord], told: str) -> None:
    proofs = Proofs()
    _gpus(proofs, records)
    assert any(told in line for line in proofs.failures), proofs.failures


def test_a_pod_that_failed_is_told() -> None:
    proofs = Proofs()
    _ended_well(proofs, [TRAINING, record("case__raw_photos", phase="Failed", reason="OOMKilled")])
    assert proofs.failures == ["pod case__raw_photos-1 of case/raw_photos: Failed OOMKilled"]


def test_steps_are_grouped_by_what_they_ask_for(instance: dg.DagsterInstance) -> None:
    records = [record("case__raw_photos"), TRAINING, record("case__raw_photos", pod="another")]
    records.append(record("case__raw_photos", pod="larger", limits={"cpu": "4", "memory": "6Gi"}))
    head, *rows = steps_table(step_pods(records, instance)).splitlines()
    assert head.split()[:3] == ["step", "image", "CPU"]
    assert [row.split()[0] for row in rows] == ["case/detector_weights", "case/raw_photos", "case/raw_photos"]
    assert rows[0].split()[1:6] == ["enclosure-catalog-gpu:1", "250m/8", "512Mi/32Gi", "1", "1"]
    assert [row.split()[5] for row in rows[1:]] == ["2", "1"]


def test_run_pods_and_servers_are_no_steps(instance: dg.DagsterInstance) -> None:
    assert step_pods([record("", component="run_worker"), record("", component="mlflow")], instance) == []


def test_time_to_work_is_from_the_containers_start_to_dagsters_first_event(instance: dg.DagsterInstance) -> None:
    @dg.op
    def case__raw_photos() -> None: ...

    @dg.job
    def ingest() -> None:
        case__raw_photos()

    started = time.time() - 3
    run_id = ingest.execute_in_process(instance=instance).run_id
    (step,) = step_pods([record("case__raw_photos", run_id=run_id, started=started)], instance)
    assert step.seconds_to_work is not None
    assert 3 <= step.seconds_to_work < 60
    (never_began,) = step_pods([record("case__raw_photos", run_id=run_id, started=started, attempt=2)], instance)
    assert never_began.seconds_to_work is None


def test_every_pod_has_a_line_in_the_file(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    steps = step_pods([TRAINING, record("case__raw_photos")], instance)
    write_steps(steps, tmp_path / "new" / "steps.json")
    written = json.loads((tmp_path / "new" / "steps.json").read_text())
    assert [StepPod(**line) for line in written] == steps
    assert written[0]["gpus"] == 1
    assert written[0]["memory_limit"] == "32Gi"


@pytest.mark.parametrize(
    ("name", "secret"),
    [("DAGSTER_RUN_STEP_KEY", False), ("AWS_SECRET_ACCESS_KEY", True), ("DAGSTER_PG_PASSWORD", True)],
)
def test_a_steps_name_is_no_secret(name: str, secret: bool) -> None:
    container = {"name": "dagster", "image": CPU, "env": [{"name": name, "value": "raw_photos"}]}
    told = violations({"containers": [container]}, "job")
    assert any(f"{name} holds a secret by value" in line for line in told) == secret
