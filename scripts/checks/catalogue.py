"""What `make check` runs: commands that must end with 0, over the files that git knows or would add."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools" / "check" / "bin"
WORKFLOWS = ".github/workflows"
ACTIONS = ".github/actions/*/action.yaml"
DEPENDABOT = ".github/dependabot.yml"
MANIFEST_TESTS = ("tests/k8s/test_manifests.py", "tests/k8s/test_policies.py")
"""Tests that belong here and not to `make test`: rendered manifests against the Kubernetes schemas and policies."""


@dataclass(frozen=True)
class Check:
    """One line of the report; `says` shows the last line of its output even when it passed."""

    name: str
    commands: Sequence[Sequence[str]]
    says: bool = False

    def environment(self) -> dict[str, str]:
        """The caller's, with the tools first in PATH: actionlint looks for shellcheck there."""
        return {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}"}


def checks() -> list[Check]:
    """Every check, slowest first, so that two processors end at about the same time."""
    own = [sys.executable, "-m"]
    tool = {name: str(TOOLS / name) for name in ("actionlint", "bandit", "check-jsonschema", "hadolint", "shellcheck")}
    source = [path for path in files("*.py") if not path.startswith("tests/")]
    workflows = required(f"{WORKFLOWS}/*.yaml", f"{WORKFLOWS}/*.yml")
    return [
        Check("manifests", [[*own, "pytest", "-q", *MANIFEST_TESTS]]),
        Check("mypy", [[*own, "mypy"]]),
        Check("secrets", [[str(TOOLS / "python"), "-m", "scripts.checks.secret_scan"]], says=True),
        Check("audit", [[*own, "scripts.checks.audit"]], says=True),
        Check("licences", [[*own, "scripts.checks.licences"]], says=True),
        Check("bandit", [[tool["bandit"], "-q", "-c", "pyproject.toml", *source]]),
        Check(
            "workflows",
            [
                [tool["check-jsonschema"], "--builtin-schema", "vendor.github-workflows", *workflows],
                [tool["check-jsonschema"], "--builtin-schema", "vendor.github-actions", *required(ACTIONS)],
                [tool["check-jsonschema"], "--builtin-schema", "vendor.dependabot", DEPENDABOT],
                [tool["actionlint"], *workflows],
                [str(TOOLS / "zizmor"), "--offline", "--quiet", "--no-progress", "--persona", "pedantic", ".github"],
            ],
        ),
        Check("ruff", [[*own, "ruff", "format", "--check", "."], [*own, "ruff", "check", "."]]),
        Check(
            "dockerfiles", [[tool["hadolint"], "--failure-threshold", "style", *required("k8s/images/*.Dockerfile")]]
        ),
        Check("shell", [[tool["shellcheck"], "--enable", "all", *required(".ci/run", "*.sh")]]),
    ]


def files(*patterns: str) -> list[str]:
    """Paths of the tree by git's patterns: tracked, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 git
    return sorted(path for path in set(listed.split("\0")) if path and (ROOT / path).exists())


def required(*patterns: str) -> list[str]:
    """As `files`, but each pattern must find something: a check of nothing would always pass.

    Raises:
        FileNotFoundError: No file is found.
    """
    if not (found := files(*patterns)):
        raise FileNotFoundError(f"Nothing to check: no file like {', '.join(patterns)}")
    return found
