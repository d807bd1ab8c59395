"""What the address of an MLflow says, and the error that names it; needs no mlflow, whose import costs seconds.

Clients belong in `mlflow_client.py` (all of MLflow) and `alias_lookup.py` (one question).
"""

from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

SCHEMES = ("sqlite", "postgresql", "http", "https")


class MlflowUnavailableError(RuntimeError):
    """MLflow cannot be reached, or answers what it should not; the message names the address and the remedy."""

    def __init__(self, tracking_uri: str, cause: object) -> None:
        remedy = (
            "look at its log and at operations.md, 'MLflow is away'" if is_server(tracking_uri) else "see the cause"
        )
        super().__init__(f"MLflow at {shown(tracking_uri)} cannot be asked ({cause}); {remedy}")


def scheme(tracking_uri: str) -> str:
    """Which kind of MLflow it is: one of `SCHEMES`, without SQLAlchemy's driver.

    Raises:
        ValueError: The address is of another kind; MLflow would take it for a folder of files.
    """
    found = urlsplit(tracking_uri).scheme.split("+")[0]
    if found not in SCHEMES:
        raise ValueError(
            f"MLflow address {tracking_uri!r} is none of {', '.join(SCHEMES)}; a local one is sqlite:///<file>"
        )
    return found


def is_server(tracking_uri: str) -> bool:
    """Whether it is asked over HTTP."""
    return tracking_uri.startswith(("http://", "https://"))


def sqlite_file(tracking_uri: str) -> Path | None:
    """The file of `sqlite:///<file>`, None for other addresses."""
    return Path(tracking_uri.removeprefix("sqlite:///")) if tracking_uri.startswith("sqlite:///") else None


def shown(address: str) -> str:
    """The address for messages and metadata: without user and password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def credentials(parts: SplitResult) -> tuple[str, str] | None:
    """User and password that stand in an address."""
    return None if parts.username is None else (parts.username, parts.password or "")
