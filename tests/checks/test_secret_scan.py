"""A secret in the tree is found. The planted ones are put together here, so that this file holds none."""

import json
import subprocess
from pathlib import Path

import pytest

from scripts.checks.catalogue import ROOT, TOOLS

PLANTED = {
    "AWS Access Key": 'key = "' + "AKIA" + 'QXZJ4T2MWL7PN3RE"\n',
    "Private Key": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEow\n",
    "GitHub Token": 'token = "' + "ghp_" + 'wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx"\n',
    "Secret Keyword": "pass" + 'word = "hunter2-and-more"\n',
    "Basic Auth Credentials": 'url = "postgresql://catalog:' + 's3cr3tw0rd@db.example/catalog"\n',
}


def scan(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS / "python"), "-m", "scripts.checks.secret_scan", *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_planted_secrets_are_found_and_ordinary_settings_are_not(tmp_path: Path) -> None:
    for number, line in enumerate(PLANTED.values()):
        (tmp_path / f"planted_{number}.py").write_text(line)
    (tmp_path / "fine.py").write_text('password = os.environ["PASSWORD"]\nurl = "postgresql://db.example/catalog"\n')
    done = scan(*sorted(tmp_path.iterdir()))
    assert done.returncode == 1, done.stderr
    assert "fine.py" not in done.stdout
    for number, kind in enumerate(PLANTED):
        assert f"planted_{number}.py:1: {kind}" in done.stdout


def test_a_file_without_secrets_passes(tmp_path: Path) -> None:
    (tmp_path / "fine.py").write_text("answer = 42\n")
    done = scan(tmp_path / "fine.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no secret in 1 files" in done.stdout


def test_every_accepted_finding_was_judged_and_its_file_exists() -> None:
    entries = [
        entry for found in json.loads((ROOT / ".secrets.baseline").read_text())["results"].values() for entry in found
    ]
    assert entries
    assert [entry["filename"] for entry in entries if entry.get("is_secret") is not False] == []
    assert [entry["filename"] for entry in entries if not (ROOT / entry["filename"]).exists()] == []


@pytest.mark.parametrize(
    "name", ["detect-secrets", "hadolint", "actionlint", "shellcheck", "zizmor", "bandit", "checkov"]
)
def test_every_tool_is_installed(name: str) -> None:
    assert (TOOLS / name).exists()
