#!/usr/bin/env python3
"""A test double of kubectl, not Kubernetes: it keeps what is applied as files below KUBECTL_STATE, and logs its calls.

`kustomize` is the real one's. What a cluster would make of it stands in files that a test writes: `broken` (images
whose pods never become ready, one a line), `migration` (Complete or Failed), `port` (of the test's HTTP server).
"""

import json
import os
import sys
import time
from pathlib import Path

STATE = Path(os.environ["KUBECTL_STATE"])


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def said(name: str) -> str:
    file = STATE / name
    return file.read_text().strip() if file.exists() else ""


def place(kind: str, name: str) -> Path:
    return STATE / "objects" / f"{kind.lower()}.{name}.json"


def apply() -> None:
    for entry in json.load(sys.stdin)["items"]:
        kind, name = entry["kind"], entry["metadata"]["name"]
        file, content = place(kind, name), json.dumps(entry, sort_keys=True)
        state = "created" if not file.exists() else "unchanged" if file.read_text() == content else "configured"
        if kind == "Job" and state == "configured":
            sys.exit(f"The Job {name} is invalid: spec.template: field is immutable")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        say(f"{kind.lower()}/{name} {state}")


def get(kind: str, name: str) -> None:
    if not place(kind, name).exists():
        return
    entry = json.loads(place(kind, name).read_text())
    if kind == "job":
        entry["status"] = {"conditions": [{"type": said("migration"), "status": "True", "message": "no such table"}]}
    say(json.dumps(entry))


def rollout_status(deployment: str) -> None:
    entry = json.loads(place("deployment", deployment).read_text())
    for container in entry["spec"]["template"]["spec"]["containers"]:
        if container["image"] in said("broken").splitlines():
            sys.exit(f'error: deployment "{deployment}" exceeded its progress deadline')


def main() -> None:
    words = sys.argv[1:]
    if words[2] == "kustomize":
        os.execvp("kubectl", ["kubectl", *words])  # noqa: S606
    with (STATE / "calls").open("a") as log:
        log.write(" ".join(words) + "\n")
    assert words[:2] == ["--namespace", "enclosure-catalog"], words
    match words[2:]:
        case ["apply", "-f", "-"]:
            apply()
        case ["get", kind, name, "--ignore-not-found", "-o", "json"]:
            get(kind, name)
        case ["delete", "job", name, "--ignore-not-found", "--wait=true"]:
            place("job", name).unlink(missing_ok=True)
        case ["rollout", "status", target, _]:
            rollout_status(target.removeprefix("deployment/"))
        case ["rollout", "restart", *_]:
            pass
        case ["port-forward", _, port, "--address", "127.0.0.1"]:
            say(f"Forwarding from 127.0.0.1:{said('port')} -> {port[1:]}")
            time.sleep(60)
        case other:
            sys.exit(f"error: unknown command {other}")


if __name__ == "__main__":
    main()
