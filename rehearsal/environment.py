"""What every process of the rehearsal gets: nothing of the caller's environment but what a system needs."""

import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

BIN = Path(sys.executable).parent
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "LD_LIBRARY_PATH")
_QUIET = {"DAGSTER_DISABLE_TELEMETRY": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "NO_PROXY": "127.0.0.1,localhost"}


def basics(*more: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of a process, the later mapping before the earlier."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    kept["PATH"] = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
    merged = {**kept, **_QUIET}
    for mapping in more:
        merged |= mapping
    return merged


def answers(address: str, expected: str = "") -> Callable[[], bool]:
    """A question whether a server on loopback answers, with a text in its answer; OSError while it does not."""

    def ask() -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=5) as answer:
            return expected in answer.read().decode(errors="replace")

    return ask
