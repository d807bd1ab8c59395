"""kubectl, as far as a deployment needs it: one namespace, errors with what kubectl said."""

import json
import re
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
PHASE = "enclosure-catalog/phase"
FORWARD_TIMEOUT_S = 30.0


class KubectlError(RuntimeError):
    """kubectl failed; the message is what it said."""


@dataclass(frozen=True)
class Kubectl:
    """`program` is its path; the cluster is that of KUBECONFIG."""

    namespace: str
    program: str = "kubectl"

    def run(self, *arguments: str, given: str | None = None) -> str:
        """What it prints; `given` goes to its standard input.

        Raises:
            KubectlError: It ended with another status than 0.
        """
        command = self._command(*arguments)
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603 our own
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, manifests: Sequence[Manifest], phase: str) -> list[str]:
        """Apply what carries a phase; one line an object, as `configmap/settings configured`."""
        chosen = [entry for entry in manifests if entry["metadata"].get("labels", {}).get(PHASE) == phase]
        return self.put(*chosen) if chosen else []

    def put(self, *objects: Manifest) -> list[str]:
        """Apply objects; one line each."""
        together = {"apiVersion": "v1", "kind": "List", "items": objects}
        return self.run("apply", "-f", "-", given=json.dumps(together)).splitlines()

    def find(self, kind: str, name: str) -> Manifest | None:
        """An object of the cluster; None if there is none."""
        found = self.run("get", kind, name, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else None

    def wait_for_job(self, name: str, seconds: float, pause: float = 2.0) -> None:
        """Wait until a Job has completed (`kubectl wait` would not see that it failed).

        Raises:
            KubectlError: It failed, or did not end in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            conditions = ((self.find("job", name) or {}).get("status") or {}).get("conditions") or []
            ended = {entry["type"]: entry for entry in conditions if entry["status"] == "True"}
            if "Complete" in ended:
                return
            if "Failed" in ended:
                raise KubectlError(f"Job {name} failed: {ended['Failed'].get('message', 'no message')}")
            time.sleep(pause)
        raise KubectlError(f"Job {name} did not end within {seconds:.0f} s")

    @contextmanager
    def forwarded(self, deployment: str, port: int) -> Iterator[str]:
        """The local address of a Deployment's port, through the kubelet: no ingress, no login, no network policy."""
        command = self._command("port-forward", f"deployment/{deployment}", f":{port}", "--address", "127.0.0.1")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603 our own
            try:
                yield f"http://127.0.0.1:{self._forwarded_port(process)}"
            finally:
                process.kill()  # it has nothing to finish, and would ignore SIGTERM where this process was told to

    @staticmethod
    def _forwarded_port(process: "subprocess.Popen[str]") -> int:
        output = process.stdout
        readable = output and select.select([output], [], [], FORWARD_TIMEOUT_S)[0]
        line = output.readline() if output and readable else f"nothing within {FORWARD_TIMEOUT_S:.0f} s"
        if not (match := re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line)):
            raise KubectlError(f"kubectl port-forward: {line.strip()}")
        return int(match[1])

    def _command(self, *arguments: str) -> list[str]:
        return [self.program, "--namespace", self.namespace, *arguments]
