"""The clients that the README gives, run as they stand there, but for the port."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from live_server import Server
from tiny_model import jpeg

from resources.settings import PROJECT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    return tmp_path


def block(language: str, server: Server) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert "127.0.0.1:8000" in text
    return str(text).replace(":8000", f":{server.port}")


def test_the_python_client_prints_a_line_a_box(server: Server, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block("python", server)], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [server.versions["left"].version, "router", "0.5862", "0.375", "0.333333"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_client_gets_the_same(server: Server, folder: Path) -> None:
    command = ["bash", "-c", block("bash", server)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert [box["class_name"] for box in json.loads(done.stdout)["photos"][0]["boxes"]] == ["router"]
    (folder / "photo.jpg").write_bytes(b"no photo")
    refused = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert refused.returncode == 22
    assert "no picture" in refused.stdout
