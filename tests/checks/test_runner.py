"""`make check` reports what fails, runs everything all the same, and finds what it is for."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.checks.__main__ import run
from scripts.checks.catalogue import ROOT, TOOLS, Check, checks, required

FINDINGS = {
    "bandit": ("bad.py", "import os\n\n\ndef run(name):\n    os.system('ls ' + name)\n", ["bandit", "-q"], "B605"),
    "hadolint": ("bad.Dockerfile", "FROM python:latest\nRUN sudo ls\n", ["hadolint"], "DL3004"),
    "shellcheck": ("bad.sh", "#!/bin/bash\nrm -rf $1/*\n", ["shellcheck"], "SC2086"),
    "actionlint": (
        "bad.yaml",
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ steps.none.outputs.x }}\n",
        ["actionlint"],
        'property "none" is not defined',
    ),
    "zizmor": (
        "bad.yaml",
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/checkout@v6\n",
        ["zizmor", "--offline", "--quiet", "--no-progress"],
        "unpinned-uses",
    ),
}


@pytest.mark.parametrize("tool", FINDINGS)
def test_a_planted_fault_is_found(tool: str, tmp_path: Path) -> None:
    name, content, (program, *arguments), expected = FINDINGS[tool]
    (tmp_path / name).write_text(content)
    outcome = run(Check(tool, [[str(TOOLS / program), *arguments, str(tmp_path / name)]]))
    assert not outcome.passed
    assert expected in outcome.output


def test_one_failing_command_fails_the_check_and_the_rest_still_runs() -> None:
    fails, speaks = [sys.executable, "-c", "raise SystemExit(3)"], [sys.executable, "-c", "print('said')"]
    outcome = run(Check("two", [fails, speaks]))
    assert (outcome.passed, outcome.output) == (False, "said")
    assert run(Check("one", [speaks])).passed


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "scripts.checks", "mipy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "mipy" in done.stderr
    assert "mypy" in done.stderr


def test_a_check_of_nothing_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        required("nowhere/*.yaml")


def test_every_part_of_the_issue_is_checked() -> None:
    expected = {
        "ruff",
        "mypy",
        "bandit",
        "secrets",
        "audit",
        "licences",
        "workflows",
        "shell",
        "dockerfiles",
        "manifests",
    }
    assert {check.name for check in checks()} == expected


def test_bandit_sees_every_file_but_tests() -> None:
    (bandit,) = (check for check in checks() if check.name == "bandit")
    for path in ("definitions.py", "resources/settings.py", "scripts/ci/deploy.py", "demo/daemon.py"):
        assert path in bandit.commands[0]
    assert not [word for word in bandit.commands[0] if word.startswith("tests/")]
