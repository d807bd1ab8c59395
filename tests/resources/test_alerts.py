import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from resources.alerts import NOT_SENT, Alerts


class Webhook(ThreadingHTTPServer):
    """A receiver on a free port that answers as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.wait = threading.Event()
        self.slow = False
        self.received: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/secret-token"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.slow:
            self.server.wait.wait(10)
            return
        self.server.received.append({"type": self.headers["Content-Type"], **json.loads(body)})
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    server = Webhook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.wait.set()
    server.shutdown()
    server.server_close()
    thread.join()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_without_a_webhook_alerts_go_to_the_file_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "state" / "alerts.jsonl"
    alerts = Alerts(path=str(path))
    assert alerts.send("Run failed", "two\nlines ő", "error", "http://127.0.0.1/runs/1") == NOT_SENT
    alerts.send("All well", "again", "info")
    first, second = lines(path)
    assert (first["title"], first["text"], first["severity"]) == ("Run failed", "two\nlines ő", "error")
    assert (first["link"], first["webhook"]) == ("http://127.0.0.1/runs/1", NOT_SENT)
    assert second["severity"] == "info"
    assert first["sent_at"].endswith("+00:00")


def test_the_webhook_gets_the_alert_as_json(tmp_path: Path, webhook: Webhook) -> None:
    alerts = Alerts(path=str(tmp_path / "a.jsonl"), webhook_url=webhook.url)
    assert alerts.send("Run failed", "Out of memory", "error", "http://127.0.0.1/runs/1") == "sent"
    (received,) = webhook.received
    assert received["type"] == "application/json"
    assert received["text"] == "Run failed\nOut of memory\nhttp://127.0.0.1/runs/1"
    assert (received["title"], received["severity"]) == ("Run failed", "error")
    assert lines(tmp_path / "a.jsonl")[0]["webhook"] == "sent"


def test_a_refusing_webhook_is_recorded_and_breaks_nothing(
    tmp_path: Path, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.status = 500
    outcome = Alerts(path=str(tmp_path / "a.jsonl"), webhook_url=webhook.url).send("Title", "Text")
    assert outcome == "failed: HTTPError: HTTP Error 500: Internal Server Error"
    assert lines(tmp_path / "a.jsonl")[0]["webhook"] == outcome
    assert "HTTP Error 500" in caplog.text
    assert "secret-token" not in caplog.text + (tmp_path / "a.jsonl").read_text()


def test_a_webhook_that_hangs_or_is_not_there_costs_only_the_timeout(tmp_path: Path, webhook: Webhook) -> None:
    webhook.slow = True
    alerts = Alerts(path=str(tmp_path / "a.jsonl"), webhook_url=webhook.url, timeout_seconds=0.2)
    assert alerts.send("Title", "Text").startswith("failed: TimeoutError")
    nobody = Alerts(path=str(tmp_path / "a.jsonl"), webhook_url="http://127.0.0.1:1/")
    assert nobody.send("Title", "Text").startswith("failed: URLError")
    assert len(lines(tmp_path / "a.jsonl")) == 2


def test_alerts_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    alerts = Alerts(path=str(tmp_path / "a.jsonl"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: alerts.send(f"{n}", "x" * 5000, "info"), range(40)))
    assert sorted(int(line["title"]) for line in lines(tmp_path / "a.jsonl")) == list(range(40))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "example", "http://"])
def test_only_http_addresses_are_taken(url: str) -> None:
    with pytest.raises(ValidationError, match="http"):
        Alerts(path="a.jsonl", webhook_url=url)


def test_an_unknown_severity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Severity 'fatal' is none of info, warning, error"):
        Alerts(path=str(tmp_path / "a.jsonl")).send("Title", "Text", "fatal")  # type: ignore[arg-type]
