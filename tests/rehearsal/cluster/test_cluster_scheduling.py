"""Pods wait for room, and go where they may and would rather."""

from pathlib import Path
from typing import Any

from cluster_support import Api, eventually, settings_of

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.faults import PodFault, Selector
from rehearsal.cluster.settings import Node

SPOT_TAINT = {"key": "node-lifecycle", "value": "spot", "effect": "NoSchedule"}
SPOT = Node("spot", cpu="2", labels={"node-lifecycle": "spot"}, taints=[SPOT_TAINT])
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
GPU = Node("gpu", cpu="2", gpus=1, labels={"accelerator": "nvidia"}, taints=[GPU_TAINT])
PLAIN = Node("plain", cpu="2")
PREFERS_SPOT = {
    "tolerations": [{**SPOT_TAINT, "operator": "Equal"}],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "preference": {
                        "matchExpressions": [{"key": "node-lifecycle", "operator": "In", "values": ["spot"]}]
                    },
                }
            ]
        }
    },
}
NEEDS_GPU = {
    "nodeSelector": {"accelerator": "nvidia"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
}


def asks(cpu: str, **more: str) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu, **more}, "limits": {"cpu": cpu, **more}}}


def node_of(api: Api, job: str) -> str:
    return str(eventually(lambda: api.pod(job) and api.pod(job).spec.node_name))


def test_pods_wait_for_room_in_order_of_creation(tmp_path: Path) -> None:
    with Cluster(settings_of(tmp_path / "cluster", nodes=[PLAIN])) as cluster:
        api = Api(cluster)
        api.run("first", "sleep 1", container=asks("2"))
        node_of(api, "first")
        api.run("second", "sleep 1", container=asks("2"))
        api.run("third", "true", container=asks("1"))
        pod = eventually(lambda: api.pod("second") and api.pod("second").status.conditions and api.pod("second"))
        assert (pod.status.phase, pod.status.conditions[0].reason) == ("Pending", "Unschedulable")
        assert "Insufficient cpu" in pod.status.conditions[0].message
        for name in ("first", "second", "third"):
            assert api.end_of(name).type == "Complete"
        by_job = {record.job: record for record in cluster.records()}
        assert (by_job["second"].started or 0) >= (by_job["first"].ended or 0)


def test_spot_is_preferred_and_on_demand_takes_over(tmp_path: Path) -> None:
    with Cluster(settings_of(tmp_path / "cluster", nodes=[PLAIN, SPOT])) as cluster:
        api = Api(cluster)
        api.run("cheap", "sleep 60", container=asks("2"), pod=PREFERS_SPOT)
        assert node_of(api, "cheap") == "spot"
        api.run("full", "sleep 60", container=asks("1"), pod=PREFERS_SPOT)
        assert node_of(api, "full") == "plain"
        api.run("intolerant", "true", container=asks("1"))
        assert node_of(api, "intolerant") == "plain"
        cluster.lose_node("spot")
        assert api.end_of("cheap").reason == "BackoffLimitExceeded"
        api.run("after", "true", container=asks("1"), pod=PREFERS_SPOT)
        assert node_of(api, "after") == "plain"


def test_a_gpu_is_given_to_who_asks_for_it(tmp_path: Path) -> None:
    with Cluster(settings_of(tmp_path / "cluster", nodes=[PLAIN, GPU])) as cluster:
        api = Api(cluster)
        gpu = {"nvidia.com/gpu": "1"}
        api.run("train", "sleep 60", container=asks("1", **gpu), pod=NEEDS_GPU)
        assert node_of(api, "train") == "gpu"
        api.run("waits", "true", container=asks("1", **gpu), pod=NEEDS_GPU)
        conditions = eventually(lambda: api.pod("waits") and api.pod("waits").status.conditions)
        assert "Insufficient nvidia.com/gpu" in conditions[0].message
        api.run("light", "true", container=asks("1"))
        assert node_of(api, "light") == "plain"


def test_a_slow_scheduler_holds_a_pod_back(tmp_path: Path) -> None:
    with Cluster(settings_of(tmp_path / "cluster")) as cluster:
        cluster.faults.add(PodFault("slow_scheduling", Selector(labels={"job-name": "late"}), after=1.0))
        api = Api(cluster)
        api.run("late", "true")
        assert api.end_of("late").type == "Complete"
        (record,) = cluster.records()
        assert (record.scheduled or 0) - record.created >= 1.0
