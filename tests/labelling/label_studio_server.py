"""The real Label Studio server, as `make label-studio` starts it, on a free port of loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from resources.settings import PROJECT
from scripts.label_studio import settings_of

STARTS_WITHIN_S = 240


class LabelStudioServer:
    """A server whose database stays when it is stopped and started again."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home, self.environment = home, environment
        self.settings = settings_of(home, self.port)
        self.log = home / "label-studio-server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.settings["MLOPS_LABEL_STUDIO_URL"]

    @property
    def token(self) -> str:
        return self.settings["MLOPS_LABEL_STUDIO_TOKEN"]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.label_studio", "--home", str(self.home), "--port", str(self.port)],
                cwd=PROJECT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + STARTS_WITHIN_S
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < until, self.log.read_text()[-3000:]
            time.sleep(0.5)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def get(self, address: str) -> tuple[int, bytes]:
        """What the annotator's browser gets."""
        headers = {"Authorization": f"Token {self.token}"}
        request = urllib.request.Request(f"{self.url}{address}", headers=headers)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
