"""Tells people what needs them: in the log, in a file of JSON lines, and by webhook where one is set.

Which events are worth an alert is decided in `sensors`.
"""

import datetime as dt
import http.client
import json
import os
import urllib.request
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field, field_validator

Severity = Literal["info", "warning", "error"]

NOT_SENT = "no webhook set"


class Alerts(dg.ConfigurableResource[None]):
    """Sends alerts; a webhook that fails costs a warning and is recorded, but never breaks the caller."""

    path: str = Field(description="file of JSON lines, one an alert, only ever appended to")
    webhook_url: str = Field(
        "", description="http(s) address that takes a JSON POST, such as that of a chat; empty: none"
    )
    timeout_seconds: float = Field(5.0, gt=0, description="how long the webhook may take")

    @field_validator("webhook_url")
    @classmethod
    def _http_only(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("the webhook address must start with http:// or https:// and name a host")
        return value

    def send(self, title: str, text: str, severity: Severity = "warning", link: str | None = None) -> str:
        """Send one alert.

        The webhook receives JSON with title, severity, link, sent_at and text, which holds title, text and link in one,
        as chat services show it.

        Args:
            title: One line.
            text: What happened and what to do.
            severity: info, warning or error.
            link: Where to look, such as the run's page.

        Returns:
            What became of the webhook: "sent", "no webhook set", or "failed: …".

        Raises:
            ValueError: An unknown severity.
            OSError: The alert file cannot be written.
        """
        if severity not in get_args(Severity):
            raise ValueError(f"Severity {severity!r} is none of {', '.join(get_args(Severity))}")
        log = dg.get_dagster_logger("alerts")
        whole = "\n".join(part for part in (title, text, link) if part)
        getattr(log, severity)(whole)
        alert = {
            "sent_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "severity": severity,
            "title": title,
            "text": text,
            "link": link,
        }
        outcome = self._post(alert | {"text": whole})
        if outcome.startswith("failed"):
            log.warning("The alert webhook %s; the alert is in %s", outcome, self.path)
        self._append(alert | {"webhook": outcome})
        return outcome

    def _post(self, alert: dict[str, str | None]) -> str:
        """Post to the webhook; its address may hold a secret and stays out of every message."""
        if not self.webhook_url:
            return NOT_SENT
        request = urllib.request.Request(  # noqa: S310 - the validator admits http and https only
            self.webhook_url,
            data=json.dumps(alert).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds):  # noqa: S310
                return "sent"
        except OSError as error:
            return f"failed: {type(error).__name__}: {error}"
        except (http.client.HTTPException, ValueError) as error:  # these may quote the address
            return f"failed: {type(error).__name__}"

    def _append(self, record: dict[str, str | None]) -> None:
        """Add one line by a single write in append mode, so that processes do not write into each other's lines."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
