"""What the workflows promise beside what `make check` lints: pinned actions, least rights, what they call exists."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.ci.overlay import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
FILES = [*WORKFLOWS, *sorted((ROOT / ".github" / "actions").glob("*/action.yaml"))]
MAY_WRITE = {
    ("images.yaml", "build"): {"packages", "id-token", "attestations"},
    ("images.yaml", "release"): {"actions"},
}
CALLED_BY_OTHERS = {"scripts/ci/verify_signatures.sh"}
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name + "/" + path.stem)


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text())


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return read(path)["jobs"]


def steps(path: Path) -> Iterator[dict[str, Any]]:
    content = read(path)
    for job in content.get("jobs", {"": content.get("runs")}).values():
        yield from job.get("steps", [])


def test_the_four_workflows_are_there() -> None:
    assert {path.stem for path in WORKFLOWS} == {"ci", "images", "deploy", "nightly"}


@each_file
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(path: Path) -> None:
    uses = re.findall(r"^\s*(?:- )?uses: (.*)$", path.read_text(), re.MULTILINE)
    assert uses
    foreign = [use for use in uses if not use.startswith("./")]
    assert [use for use in foreign if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []
    for use in set(uses) - set(foreign):
        assert (ROOT / use).exists(), use


def test_one_action_has_one_version_everywhere() -> None:
    pinned = {use for path in FILES for use in re.findall(r"uses: (\S+@\S+)", path.read_text())}
    names = [use.split("@")[0] for use in pinned]
    assert sorted(set(names)) == sorted(names)


@each_workflow
def test_a_workflow_may_do_nothing_and_each_job_only_what_it_must(path: Path) -> None:
    assert read(path)["permissions"] == {}
    for name, job in jobs(path).items():
        rights = job["permissions"]
        written = {right for right, level in rights.items() if level == "write"}
        assert written == MAY_WRITE.get((path.name, name), set()), name
        assert set(rights.values()) <= {"read", "write"}


@each_workflow
def test_every_job_ends_in_time_and_runs_do_not_pile_up(path: Path) -> None:
    content = read(path)
    for name, job in jobs(path).items():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 120, name
        assert {"group", "cancel-in-progress"} <= set(job.get("concurrency", content.get("concurrency", {}))), name
        assert job.get("runs-on", "ubuntu-24.04") == "ubuntu-24.04"


@each_file
def test_no_step_leaves_credentials_behind_or_mixes_expressions_into_shell(path: Path) -> None:
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", "")


def test_every_target_and_script_that_is_called_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = "\n".join(step["run"] for path in FILES for step in steps(path) if "run" in step)
    made = set(re.findall(r"\bmake ([a-z-]+)", called))
    tests = {"test", "test-production", "test-label-studio", "test-slow"}
    assert {"check", "check-tools", "fault-table", "production-rehearsal"} | tests == made
    assert made <= targets
    scripts = set(re.findall(r"scripts/ci/\w+\.\w+", called))
    assert scripts == {f"scripts/ci/{path.name}" for path in (ROOT / "scripts/ci").glob("*.sh")} - CALLED_BY_OTHERS
    for script in scripts:
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} cannot be run"


def test_checks_are_strict_about_vulnerabilities_and_tests_run_on_every_python() -> None:
    ci = jobs(ROOT / ".github" / "workflows" / "ci.yaml")
    (check,) = (step for step in ci["check"]["steps"] if step.get("run") == "make check")
    assert check["env"]["AUDIT"] == "strict"
    assert ci["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_nothing_is_published_before_the_checks_or_unscanned_or_from_a_pull_request() -> None:
    images = jobs(ROOT / ".github" / "workflows" / "images.yaml")
    assert {"ci", "decide"} <= set(images["build"]["needs"])
    order = [step.get("name") or step.get("uses", "").split("@")[0] for step in images["build"]["steps"]]
    scan = order.index("Scan")
    for later in ("docker/login-action", "Push what was scanned, by digest", "Sign, and call it main"):
        assert order.index(later) > scan
    for step in images["build"]["steps"][scan + 1 :]:
        assert step["if"] == "github.event_name != 'pull_request'"
    settings = images["build"]["steps"][scan]["with"]
    assert (settings["severity"], settings["exit-code"]) == ("HIGH,CRITICAL", "1")
    both = [step["with"] for step in images["build"]["steps"] if "build-push-action" in step.get("uses", "")]
    assert both[0]["build-args"] == both[1]["build-args"]
    assert both[0]["file"] == both[1]["file"]


def test_production_waits_for_development_and_approval() -> None:
    deploy = jobs(ROOT / ".github" / "workflows" / "deploy.yaml")
    assert deploy["prod"]["needs"] == "dev"
    assert [deploy[name]["environment"] for name in ("dev", "prod")] == ["dev", "prod"]
    for job in deploy.values():
        assert job["steps"][0]["with"]["fetch-depth"] == 0  # a rollback needs earlier commits


def test_dependabot_looks_after_packages_images_and_actions_every_week_in_groups() -> None:
    updates = read(ROOT / ".github" / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"uv", "docker", "github-actions"}
    for update in updates:
        assert update["schedule"]["interval"] == "weekly"
        assert update["groups"]
        for folder in update.get("directories", [update.get("directory")]):
            assert list(ROOT.glob(folder.strip("/") or "*")), folder
