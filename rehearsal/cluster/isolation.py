"""Whether this machine lets the caller make namespaces for containers, found out by making one."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from rehearsal.cluster.process import START_ARGUMENTS
from rehearsal.cluster.sandbox.main import Spec

_SECONDS = 20


@cache
def isolation_possible() -> str:
    """Why namespaces cannot be had, empty where they can."""
    if sys.platform != "linux":
        return f"they are Linux's, this is {sys.platform}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        root.mkdir()
        spec = Spec(
            command=["/bin/true"],
            environment={},
            workdir="/",
            root=str(root),
            uid=10001,
            gid=10001,
            cpus=[],
            mounts=[],
            routes=[],
            hosts="127.0.0.1 localhost\n",
            isolated=True,
            own_network=True,
            read_only_root=True,
            no_new_privileges=True,
        )
        at = Path(folder, "spec.json")
        spec.write(at)
        tried = subprocess.run(  # noqa: S603 our own words
            [sys.executable, *START_ARGUMENTS, str(at), str(Path(__file__).resolve().parents[2])],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    if tried.returncode == 0:
        return ""
    return tried.stderr.strip().rsplit("\n", 1)[-1] or f"exit code {tried.returncode}"
