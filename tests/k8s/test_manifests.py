"""The rendered manifests: valid, complete, and of least right."""

import copy
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import (
    COMPONENTS,
    DIGEST,
    K8S,
    OVERLAYS,
    OWN_IMAGES,
    Doc,
    deployed,
    kustomize,
    named,
    of_kind,
    pods,
    rendered,
    tool,
)

from rehearsal.pod_rules import containers, references, secret_keys, violations

NAMESPACE = "enclosure-catalog"
VERSIONS = ["1.31", "1.34"]
WITHOUT_NAMESPACE = {"Namespace", "PriorityClass"}
NOT_VALIDATED = {"ExternalSecret"}
"""Kinds of other projects' operators: the schemas that come with kubernetes-validate do not know them."""

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def everything(overlay: str) -> list[Doc]:
    return deployed(overlay, *COMPONENTS)


@pytest.mark.parametrize("version", VERSIONS)
@overlays
def test_valid_for_two_versions_of_kubernetes(overlay: str, version: str, tmp_path: Path) -> None:
    docs = everything(overlay)
    assert {
        doc["kind"] for doc in docs if "k8s.io" not in doc["apiVersion"] and "." in doc["apiVersion"]
    } == NOT_VALIDATED
    assert validate([doc for doc in docs if doc["kind"] not in NOT_VALIDATED], version, tmp_path) == ""


def test_the_validation_would_find_a_misspelt_field(tmp_path: Path) -> None:
    docs = copy.deepcopy(rendered("dev"))
    named(docs, "Deployment", "dagster-daemon")["spec"]["replicass"] = 1
    assert "replicass" in validate(docs, VERSIONS[0], tmp_path)


def validate(docs: list[Doc], version: str, folder: Path) -> str:
    file = folder / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(docs))
    command = [tool("kubernetes-validate"), "-k", version, "--strict", "--quiet", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode == 0) == (done.stdout + done.stderr == ""), done.stdout + done.stderr
    return done.stdout + done.stderr


@overlays
def test_everything_is_labelled_in_the_namespace_and_has_its_turn(overlay: str) -> None:
    for doc in everything(overlay):
        labels, what = doc["metadata"].get("labels", {}), f"{doc['kind']}/{doc['metadata']['name']}"
        assert labels.get("app.kubernetes.io/part-of") == "enclosure-catalog", what
        assert labels.get("enclosure-catalog/phase") in ("foundation", "migrate", "services"), what
        if doc["kind"] not in WITHOUT_NAMESPACE:
            assert doc["metadata"].get("namespace") == NAMESPACE, what
    names = [(doc["kind"], doc["metadata"]["name"]) for doc in everything(overlay)]
    assert len(names) == len(set(names))


@overlays
def test_pods_keep_to_the_rules(overlay: str) -> None:
    found = [line for where, pod in pods(everything(overlay)).items() for line in violations(pod, where)]
    assert found == []


@pytest.mark.parametrize(
    ("path", "value", "finding"),
    [
        (("securityContext", "runAsNonRoot"), False, "may run as root"),
        (("securityContext", "runAsUser"), 0, "no user other than root"),
        (("securityContext", "seccompProfile"), None, "no seccomp profile"),
        (("automountServiceAccountToken",), True, "gets a token"),
        (("enableServiceLinks",), True, "MLFLOW_PORT"),
        (("hostNetwork",), True, "hostNetwork"),
        (("volumes", 0), {"name": "tmp", "hostPath": {"path": "/"}}, "folder of the node"),
        (("volumes", 0, "name"), "other", "no volume tmp"),
        (("containers", 0, "volumeMounts", 1, "mountPath"), "/tmp", "two volumes at"),  # noqa: S108
        (("containers", 0, "securityContext", "readOnlyRootFilesystem"), False, "writable"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "gain privileges"),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}, "keeps capabilities"),
        (("containers", 0, "resources", "limits"), {"cpu": "1"}, "limit of memory"),
        (("containers", 0, "resources", "requests", "memory"), "64Gi", "asks for more memory"),
        (("containers", 0, "image"), "registry/enclosure-catalog-cpu", "neither digest nor version"),
        (("containers", 0, "env", 0), {"name": "DAGSTER_PG_PASSWORD", "value": "x"}, "secret by value"),
        (("containers", 0, "env", 0), {"name": "URL", "value": "postgresql://a:b@c/d"}, "secret by value"),
    ],
)
def test_a_pod_that_breaks_a_rule_is_found(path: tuple[str | int, ...], value: object, finding: str) -> None:
    pod = copy.deepcopy(pods(rendered("prod-gpu"))["Deployment/code-enclosures"])
    place = pod
    for step in path[:-1]:
        place = place[step]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
    assert any(finding in line for line in violations(pod, "code"))


@overlays
def test_images_come_from_the_list_and_by_digest_everywhere(overlay: str) -> None:
    known = yaml.safe_load((K8S / "policies" / "images.yaml").read_text())
    docs = everything(overlay)
    for pod in pods(docs).values():
        for image in (container["image"] for container in containers(pod)):
            repository = image.split("@")[0] if "@" in image else image.rsplit(":", 1)[0]
            assert repository in known["others"] or repository.rsplit("/", 1)[-1] in known["own"], image
    settings = named(docs, "ConfigMap", "catalog-settings")["data"]
    for setting, name in zip(("MLOPS_CPU_IMAGE", "MLOPS_GPU_IMAGE"), OWN_IMAGES, strict=True):
        assert settings[setting].endswith(f"/{name}@{DIGEST[name]}")
    cpu = settings["MLOPS_CPU_IMAGE"]
    [server] = pods(docs)["Deployment/code-enclosures"]["containers"]
    assert server["image"] == cpu
    assert {"name": "DAGSTER_CURRENT_IMAGE", "value": cpu} in server["env"]
    own = {c["image"] for pod in pods(docs).values() for c in containers(pod) if OWN_IMAGES[0] in c["image"]}
    assert own == {cpu}


def external_secrets() -> dict[str, set[str]]:
    """Keys of each Secret that is made outside, as the ExternalSecrets say."""
    docs = of_kind(deployed("dev", "components/external-secrets"), "ExternalSecret")
    return {doc["spec"]["target"]["name"]: {item["secretKey"] for item in doc["spec"]["data"]} for doc in docs}


@overlays
def test_what_pods_refer_to_exists_or_is_made_outside(overlay: str) -> None:
    docs = everything(overlay)
    there = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    outside = {("Secret", name) for name in external_secrets()} | {("Secret", "auth-proxy")}
    for where, pod in pods(docs).items():
        assert references(pod) <= there | outside, where
        for name, key in {item for container in containers(pod) for item in secret_keys(container)}:
            assert key in external_secrets()[name], (where, name, key)
    assert not of_kind(docs, "Secret"), "a Secret must not stand in the repository"


@overlays
def test_rights_are_the_least_that_dagster_k8s_needs(overlay: str) -> None:
    docs = everything(overlay)
    assert not of_kind(docs, "ClusterRole")
    assert not of_kind(docs, "ClusterRoleBinding")
    accounts = {doc["metadata"]["name"]: doc for doc in of_kind(docs, "ServiceAccount")}
    assert all(doc["automountServiceAccountToken"] is False for doc in accounts.values())
    bound = {}
    for binding in of_kind(docs, "RoleBinding"):
        [subject] = binding["subjects"]
        assert subject["namespace"] == NAMESPACE
        bound[subject["name"]] = named(docs, "Role", binding["roleRef"]["name"])["rules"]
    assert bound.keys() == {"dagster-webserver", "dagster-daemon", "dagster-run"} <= accounts.keys()
    for account, rules in bound.items():
        granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
        assert not any("*" in item for pair in granted for item in pair)
        assert {resource for resource, _ in granted} == {"jobs", "jobs/status", "pods", "pods/log", "events"}
        assert {verb for _, verb in granted} <= {"create", "get", "list", "delete"}
        assert (("jobs", "create") in granted) == (account != "dagster-webserver"), account
        assert ("pods", "create") not in granted


@overlays
def test_services_budgets_and_policies_find_their_pods(overlay: str) -> None:
    docs = everything(overlay)
    templates = {doc["metadata"]["name"]: doc["spec"]["template"] for doc in of_kind(docs, "Deployment")}
    for service in of_kind(docs, "Service"):
        [template] = [
            t for t in templates.values() if service["spec"]["selector"].items() <= t["metadata"]["labels"].items()
        ]
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
    for budget in of_kind(docs, "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        [name] = [name for name, t in templates.items() if wanted <= t["metadata"]["labels"].items()]
        assert budget["spec"] == {"maxUnavailable": 1, "selector": budget["spec"]["selector"]}, name
    budgets = {doc["metadata"]["name"] for doc in of_kind(docs, "PodDisruptionBudget")}
    assert templates.keys() - budgets == {"dagster-daemon"}  # it has one replica: a budget could only hold up a drain
    daemon = named(docs, "Deployment", "dagster-daemon")["spec"]
    assert (daemon["replicas"], daemon["strategy"]["type"]) == (1, "Recreate")


@overlays
def test_only_what_is_listed_may_talk(overlay: str) -> None:
    docs = everything(overlay)
    policies = {doc["metadata"]["name"]: doc["spec"] for doc in of_kind(docs, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    known = {
        doc["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for doc in docs
        if "template" in doc.get("spec", {})
    }
    known |= {"run_worker", "step_worker"}  # made by dagster-k8s
    meant = {component for spec in policies.values() for component in _components(spec)}
    assert meant == known
    entries = {
        (component, port["port"])
        for spec in policies.values()
        for rule in spec.get("ingress", [])
        for component in _components({"podSelector": spec["podSelector"]})
        for port in rule["ports"]
    }
    assert entries == {
        *(("webserver", 3000), ("code-server", 4000), ("mlflow", 5000), ("catalog-pages", 8080)),
        *(("serving", 8000), ("auth-proxy", 4180)),
    }


def _components(value: object) -> set[str]:
    """Every component that a policy's selectors name."""
    if isinstance(value, list):
        return {found for item in value for found in _components(item)}
    if not isinstance(value, dict):
        return set()
    label = "app.kubernetes.io/component"
    if value.get("key") == label:
        return set(value["values"])
    return {value[label]} if label in value else _components(list(value.values()))


@overlays
def test_pods_come_and_go_gently(overlay: str) -> None:
    docs = everything(overlay)
    for doc in of_kind(docs, "Deployment"):
        spec, name = doc["spec"], doc["metadata"]["name"]
        for container in spec["template"]["spec"]["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), name
        if spec["replicas"] > 1:
            [spread] = spec["template"]["spec"]["topologySpreadConstraints"]
            assert spread["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_gpus_are_allowed_where_there_are_some() -> None:
    allowed = {
        o: named(rendered(o), "ResourceQuota", "compute")["spec"]["hard"]["requests.nvidia.com/gpu"] for o in OVERLAYS
    }
    assert allowed == {"dev": "0", "prod-cpu": "0", "prod-gpu": "2"}


def test_a_second_use_case_is_a_copy_of_a_folder(tmp_path: Path) -> None:
    """As docs/operations.md says it."""
    shutil.copytree(K8S, tmp_path / "k8s")
    first = tmp_path / "k8s" / "base" / "use-cases" / "enclosures" / "kustomization.yaml"
    second = first.parent.parent / "shelters" / "kustomization.yaml"
    second.parent.mkdir()
    second.write_text(first.read_text().replace("enclosures", "shelters").replace("value: defs", "value: shelters"))
    base = tmp_path / "k8s" / "base" / "kustomization.yaml"
    base.write_text(
        base.read_text().replace("  - use-cases/enclosures\n", "  - use-cases/enclosures\n  - use-cases/shelters\n")
    )
    docs = kustomize(tmp_path / "k8s" / "overlays" / "prod-gpu")
    services = {doc["metadata"]["name"]: doc["spec"]["selector"] for doc in of_kind(docs, "Service")}
    for name, attribute in (("enclosures", "defs"), ("shelters", "shelters")):
        deployment = named(docs, "Deployment", f"code-{name}")
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        matching = [service for service, selector in services.items() if selector.items() <= labels.items()]
        assert matching == [f"code-{name}"]
        assert deployment["spec"]["template"]["spec"]["containers"][0]["args"][-2:] == ["-a", attribute]
