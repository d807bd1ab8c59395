"""The stand-in answers the real Kubernetes client as the API does."""

import time

import pytest
from cluster_support import NAMESPACE, Api, eventually, settings_of
from kubernetes import watch
from kubernetes.client.rest import ApiException
from urllib3.exceptions import HTTPError

from rehearsal.cluster.cluster import Cluster
from rehearsal.cluster.faults import ApiFault, Selector


def test_a_job_runs_to_its_end_and_its_status_says_so(api: Api) -> None:
    api.run("hello", "echo one; echo two", metadata={"labels": {"a": "b"}})
    condition = api.end_of("hello")
    assert (condition.type, condition.status) == ("Complete", "True")
    status = api.job_status("hello")
    assert (status.active, status.succeeded, status.failed) == (None, 1, None)
    assert status.completion_time >= status.start_time
    pod = api.pod("hello")
    assert pod.status.phase == "Succeeded"
    assert pod.status.container_statuses[0].state.terminated.reason == "Completed"
    assert pod.metadata.owner_references[0].kind == "Job"
    assert api.log("hello") == "one\ntwo\n"
    assert api.log("hello", tail_lines=1) == "two\n"
    assert api.log("hello", timestamps=True).startswith("20")


def test_a_failing_container_fails_its_job_after_the_backoff_limit(api: Api) -> None:
    api.run("bad", "echo no; exit 3", job={"backoffLimit": 1})
    condition = api.end_of("bad")
    assert (condition.type, condition.reason) == ("Failed", "BackoffLimitExceeded")
    assert api.job_status("bad").failed == 2
    ends = [
        pod.status.container_statuses[0].state.terminated.exit_code
        for pod in api.core.list_namespaced_pod(NAMESPACE).items
    ]
    assert ends == [3, 3]


def test_a_name_twice_is_a_conflict_and_an_unknown_one_is_not_found(api: Api) -> None:
    api.run("once", "true")
    with pytest.raises(ApiException) as conflict:
        api.run("once", "true")
    assert (conflict.value.status, '"AlreadyExists"' in conflict.value.body) == (409, True)
    for call in (
        lambda: api.batch.read_namespaced_job_status("none", NAMESPACE),
        lambda: api.core.read_namespaced_pod("none", NAMESPACE),
        lambda: api.core.delete_namespaced_pod("none", NAMESPACE),
    ):
        with pytest.raises(ApiException) as missing:
            call()
        assert (missing.value.status, '"NotFound"' in missing.value.body) == (404, True)


def test_an_invalid_job_is_refused_with_the_field(api: Api) -> None:
    with pytest.raises(ApiException) as refused:
        api.run("odd", "true", container={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})
    assert (refused.value.status, "resources.requests.cpu" in refused.value.body) == (422, True)
    with pytest.raises(ApiException) as refused:
        api.run("odd", "true", metadata={"labels": {"x": "not/allowed"}})
    assert refused.value.status == 422


def test_lists_follow_label_and_field_selectors(api: Api) -> None:
    for name, kind in (("one", "a"), ("two", "b"), ("three", "c")):
        api.run(name, "true", metadata={"labels": {"kind": kind}})

    def names(**selectors: str) -> list[str]:
        return [job.metadata.name for job in api.batch.list_namespaced_job(NAMESPACE, **selectors).items]

    assert names(label_selector="kind=b") == ["two"]
    assert names(label_selector="kind in (a, c)") == ["one", "three"]
    assert names(label_selector="kind,kind!=a") == ["two", "three"]
    assert names(field_selector="metadata.name=three") == ["three"]
    assert names(label_selector="!kind") == []
    assert [job.metadata.name for job in api.batch.list_job_for_all_namespaces().items] == ["one", "two", "three"]


def test_deleting_a_job_takes_its_pods_or_leaves_them_as_asked(api: Api, cluster: Cluster) -> None:
    for name in ("gone", "left"):
        api.run(name, "sleep 60")
        eventually(lambda name=name: api.pod(name) and api.pod(name).status.phase == "Running")
    assert len(cluster.processes()) == 2
    api.batch.delete_namespaced_job("gone", NAMESPACE, propagation_policy="Background", grace_period_seconds=1)
    api.batch.delete_namespaced_job("left", NAMESPACE)  # batch/v1 leaves pods behind unless told otherwise
    pod = api.pod("left").metadata.name
    assert not api.pod("left").metadata.owner_references
    api.core.delete_namespaced_pod(pod, NAMESPACE, grace_period_seconds=0)
    eventually(lambda: not cluster.processes(), 40)
    eventually(lambda: api.core.list_namespaced_pod(NAMESPACE).items == [])


def test_what_a_pod_owns_goes_with_it(api: Api) -> None:
    api.run("owner", "sleep 60")
    owner = eventually(lambda: api.pod("owner"))
    reference = {"apiVersion": "v1", "kind": "Pod", "name": owner.metadata.name, "uid": owner.metadata.uid}
    api.run("owned", "sleep 60", metadata={"ownerReferences": [reference]})
    eventually(lambda: api.pod("owned"))
    api.core.delete_namespaced_pod(owner.metadata.name, NAMESPACE, grace_period_seconds=0)
    eventually(lambda: [job.metadata.name for job in api.batch.list_namespaced_job(NAMESPACE).items] == ["owner"])
    assert api.end_of("owner").reason == "BackoffLimitExceeded"  # a deleted pod has failed


def test_a_finished_job_goes_after_its_time_to_live(api: Api) -> None:
    api.run("short", "true", job={"ttlSecondsAfterFinished": 1})
    api.end_of("short")
    eventually(lambda: not api.batch.list_namespaced_job(NAMESPACE).items)
    eventually(lambda: not api.core.list_namespaced_pod(NAMESPACE).items)


def test_a_deadline_ends_a_job_that_runs_and_one_that_waits_for_its_image(api: Api, cluster: Cluster) -> None:
    api.run("runs", "sleep 60", job={"activeDeadlineSeconds": 1})
    api.run("waits", "true", job={"activeDeadlineSeconds": 1}, container={"image": "nobody/has:this"})
    for name in ("runs", "waits"):
        condition = api.end_of(name)
        assert (condition.type, condition.reason) == ("Failed", "DeadlineExceeded")
        assert api.job_status(name).failed == 1
    eventually(lambda: not cluster.processes(), 40)


def test_an_image_that_nobody_has_keeps_the_pod_waiting_and_says_why(api: Api) -> None:
    api.run("no-image", "true", container={"image": "registry.example/none:1"})
    reasons = set()

    def both() -> bool:
        statuses = (api.pod("no-image").status.container_statuses or []) if api.pod("no-image") else []
        reasons.update(status.state.waiting.reason for status in statuses if status.state.waiting)
        return {"ErrImagePull", "ImagePullBackOff"} <= reasons

    eventually(both)
    assert (api.job_status("no-image").active, api.job_status("no-image").failed) == (1, None)
    pod = api.pod("no-image").metadata.name
    events = api.core.list_namespaced_event(NAMESPACE, field_selector=f"involvedObject.name={pod}").items
    assert any(event.type == "Warning" and "registry.example/none:1" in event.message for event in events)
    with pytest.raises(ApiException) as no_log:
        api.log("no-image")
    assert no_log.value.status == 400


def test_watches_tell_of_changes(api: Api) -> None:
    api.run("seen", "true")
    phases = []
    for event in watch.Watch().stream(api.core.list_namespaced_pod, NAMESPACE, timeout_seconds=10):
        phases.append((event["type"], event["object"].status.phase))
        if phases[-1][1] == "Succeeded":
            break
    assert ("MODIFIED", "Running") in phases


def test_config_maps_are_replaced_patched_and_guarded_by_their_version(api: Api) -> None:
    api.core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    seen = api.core.read_namespaced_config_map("c", NAMESPACE)
    api.core.patch_namespaced_config_map("c", NAMESPACE, {"data": {"b": "2"}})
    assert api.core.read_namespaced_config_map("c", NAMESPACE).data == {"a": "1", "b": "2"}
    with pytest.raises(ApiException) as conflict:
        api.core.replace_namespaced_config_map("c", NAMESPACE, seen)
    assert (conflict.value.status, '"Conflict"' in conflict.value.body) == (409, True)
    api.core.delete_collection_namespaced_config_map(NAMESPACE)
    assert api.core.list_namespaced_config_map(NAMESPACE).items == []


def test_errors_come_on_demand_and_only_where_asked(api: Api, cluster: Cluster) -> None:
    cluster.faults.add(ApiFault(500, verbs=["create"], resource="jobs", where=Selector(labels={"x": "y"}), count=1))
    api.run("other", "true")
    with pytest.raises(ApiException) as broken:
        api.run("meant", "true", metadata={"labels": {"x": "y"}})
    assert broken.value.status == 500
    api.run("meant", "true", metadata={"labels": {"x": "y"}})

    cluster.faults.add(ApiFault(429, verbs=["list"], resource="pods", retry_after=1, count=None))
    with pytest.raises(ApiException) as busy:
        api.core.list_namespaced_pod(NAMESPACE)
    assert (busy.value.status, busy.value.headers["Retry-After"]) == (429, "1")
    cluster.faults.clear()

    cluster.faults.add(ApiFault("reset", verbs=["get"], resource="jobs/status", count=None))
    with pytest.raises(HTTPError):
        api.job_status("meant")
    cluster.faults.clear()

    cluster.faults.add(ApiFault(503, verbs=["create"], resource="jobs", after_effect=True))
    with pytest.raises(ApiException):
        api.run("lost-answer", "true")
    with pytest.raises(ApiException) as there:
        api.run("lost-answer", "true")
    assert there.value.status == 409


def test_a_call_that_hangs_ends_with_the_clients_timeout(api: Api, cluster: Cluster) -> None:
    cluster.faults.add(ApiFault("hang", verbs=["list"], resource="jobs", seconds=5, count=None))
    began = time.monotonic()
    with pytest.raises(HTTPError):
        api.batch.list_namespaced_job(NAMESPACE, _request_timeout=0.5)
    assert time.monotonic() - began < 4


def test_without_a_token_nobody_enters_and_rights_come_from_roles(tmp_path_factory: pytest.TempPathFactory) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "runs"},
        "rules": [
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "list"]},
            {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "runs"},
        "subjects": [{"kind": "ServiceAccount", "name": "dagster-run", "namespace": NAMESPACE}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runs"},
    }
    folder = tmp_path_factory.mktemp("rights")
    with Cluster(settings_of(folder / "cluster", enforce_rbac=True)) as cluster:
        left = cluster.apply(
            [role, binding, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}]
        )
        assert left == ["Deployment/d"]
        runner, step = Api(cluster, "dagster-run"), Api(cluster, "dagster-step")
        runner.run("allowed", "true")
        assert len(runner.batch.list_namespaced_job(NAMESPACE).items) == 1
        for call in (
            lambda: runner.batch.delete_namespaced_job("allowed", NAMESPACE),
            lambda: runner.core.list_namespaced_pod(NAMESPACE),
            lambda: step.batch.list_namespaced_job(NAMESPACE),
        ):
            with pytest.raises(ApiException) as forbidden:
                call()
            assert forbidden.value.status == 403
            assert f"system:serviceaccount:{NAMESPACE}:dagster-" in forbidden.value.body
        stranger = Api(cluster)
        stranger.connection.configuration.api_key = {}
        with pytest.raises(ApiException) as unknown:
            stranger.batch.list_namespaced_job(NAMESPACE)
        assert unknown.value.status == 401
