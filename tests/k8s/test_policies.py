"""checkov finds nothing in what is deployed but what k8s/policies/waivers.yaml accepts, each with a reason."""

import copy
import functools
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import COMPONENTS, K8S, OVERLAYS, Doc, deployed, named, rendered, tool

Finding = tuple[str, str]
"""(check, kind/name)"""

WAIVERS = K8S / "policies" / "waivers.yaml"
SHORTEST_REASON = 40


@functools.cache
def findings_of_all() -> frozenset[Finding]:
    """Of all overlays with the optional components, in one go: a start of checkov takes seconds."""
    return checkov({overlay: deployed(overlay, *COMPONENTS) for overlay in OVERLAYS})


def checkov(documents: Mapping[str, list[Doc]]) -> frozenset[Finding]:
    """Every failed check; severities need the vendor's service, so any finding counts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, docs in documents.items():
            (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump_all(docs))
        command = [tool("checkov"), "-d", folder, "--framework", "kubernetes", "--skip-download", "--compact"]
        done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=False, timeout=300)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100 * len(documents), "checkov did not look at the manifests"
    assert report["summary"]["skipped"] == 0, "a manifest waives a check by itself; waivers belong into one file"
    return frozenset((item["check_id"], _resource(item["resource"])) for item in report["results"]["failed_checks"])


def _resource(name: str) -> str:
    """Kind/name of checkov's Kind.namespace.name."""
    kind, _, rest = name.partition(".")
    return f"{kind}/{rest.rsplit('.', 1)[-1]}"


def problems(findings: frozenset[Finding], waivers: list[dict[str, Any]]) -> list[str]:
    """Findings that no waiver accepts, waivers without a reason, waivers that meet nothing."""
    waived = {(waiver["check"], resource) for waiver in waivers for resource in waiver["resources"]}
    lines = [f"{check} on {resource} is not waived" for check, resource in sorted(findings - waived)]
    lines += [f"{check} on {resource} is waived, and not found" for check, resource in sorted(waived - findings)]
    lines += [
        f"the waiver of {waiver['check']} has no reason"
        for waiver in waivers
        if len(waiver.get("reason", "")) < SHORTEST_REASON
    ]
    return lines


def test_every_finding_is_waived_with_a_reason_and_no_waiver_is_idle() -> None:
    assert problems(findings_of_all(), yaml.safe_load(WAIVERS.read_text())["waivers"]) == []


@pytest.mark.parametrize(
    ("waiver", "line"),
    [
        ({"check": "C1", "resources": ["Job/a"]}, "the waiver of C1 has no reason"),
        ({"check": "C1", "resources": ["Job/a"], "reason": "because"}, "the waiver of C1 has no reason"),
        ({"check": "C1", "resources": ["Job/a", "Job/b"], "reason": "x" * 50}, "C1 on Job/b is waived, and not found"),
        ({"check": "C2", "resources": ["Job/a"], "reason": "x" * 50}, "C1 on Job/a is not waived"),
    ],
)
def test_a_bad_waiver_is_found(waiver: dict[str, Any], line: str) -> None:
    assert line in problems(frozenset({("C1", "Job/a")}), [waiver])


def test_checkov_would_find_a_root_container_and_a_wildcard() -> None:
    docs = copy.deepcopy(rendered("prod-cpu"))
    container = named(docs, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"] = {"privileged": True, "allowPrivilegeEscalation": True}
    named(docs, "Role", "dagster-run")["rules"][0]["verbs"] = ["*"]
    found = checkov({"broken": docs})
    assert {("CKV_K8S_16", "Deployment/mlflow"), ("CKV_K8S_20", "Deployment/mlflow")} <= found
    assert ("CKV_K8S_22", "Deployment/mlflow") in found  # writable root
    assert ("CKV_K8S_49", "Role/dagster-run") in found  # wildcard
