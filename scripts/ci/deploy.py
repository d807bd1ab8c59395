"""Brings one commit with its images onto a cluster, and the release before back when that does not work.

Phases in order: foundation, migrate (a Job), services. Then every Deployment must roll out and the servers must be
healthy; only then the release is recorded in the cluster, as the one to return to. Rolling back applies the recorded
commit's manifests with the recorded digests. Databases are not migrated back. The data side needs no step here:
Dagster's condition component_changed sees the new code versions.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.ci import health
from scripts.ci.kubectl import Kubectl, KubectlError, Manifest
from scripts.ci.overlay import ROOT, manifests

NAMESPACE = "enclosure-catalog"
RECORD = "deployed-release"
MIGRATION = "catalog-migrate"
CODE_SERVER = "code-"
FAILED, ROLLBACK_FAILED = 1, 2


@dataclass(frozen=True)
class Release:
    """A commit, the overlay of it, and its images, name → address by digest."""

    revision: str
    overlay: str
    images: Mapping[str, str]


@dataclass(frozen=True)
class Patience:
    """Seconds for the migration, each rollout, and health."""

    migration: float = 1800
    rollout: float = 900
    health: float = 300


class Deployer:
    """Deploys onto one cluster what the commits of one repository say."""

    def __init__(self, kubectl: Kubectl, patience: Patience, root: Path = ROOT) -> None:
        self.kubectl = kubectl
        self.patience = patience
        self.root = root

    def deploy(self, release: Release) -> int:
        """0 if the release works; 1 if it does not and the one before is back, 2 if that is not either."""
        before = self.recorded()
        try:
            self._bring(release, migrate=True)
            self._record(release)
        except (KubectlError, health.UnhealthyError) as error:
            say(f"{release.revision} does not work: {error}")
            return self._roll_back(before)
        say(f"{release.revision} is deployed and healthy")
        return 0

    def recorded(self) -> Release | None:
        """The last release that worked."""
        found = self.kubectl.find("configmap", RECORD)
        return Release(**json.loads(found["data"]["release"])) if found else None

    def _roll_back(self, before: Release | None) -> int:
        if before is None:
            say("No release before this one is recorded; what failed is left as it is.")
            return ROLLBACK_FAILED
        say(f"Back to {before.revision} with {', '.join(before.images.values())}")
        try:
            self._bring(before, migrate=False)
        except (KubectlError, health.UnhealthyError) as error:
            say(f"The rollback to {before.revision} does not work either: {error}")
            return ROLLBACK_FAILED
        say(f"{before.revision} is back and healthy")
        return FAILED

    def _bring(self, release: Release, migrate: bool) -> None:
        rendered = manifests(self.kubectl, release.revision, release.overlay, release.images, self.root)
        changed = self.kubectl.apply(rendered, "foundation")
        if migrate:
            self._migrate(rendered)
        changed += self.kubectl.apply(rendered, "services")
        deployments = [entry["metadata"]["name"] for entry in rendered if entry["kind"] == "Deployment"]
        if any(line.startswith("configmap/") and line.endswith(" configured") for line in changed):
            # ConfigMaps keep their names, so that nothing restarts by itself when only a setting changes.
            self.kubectl.run("rollout", "restart", *(f"deployment/{name}" for name in deployments))
        for name in deployments:
            self.kubectl.run("rollout", "status", f"deployment/{name}", f"--timeout={self.patience.rollout:.0f}s")
        self._check(sum(name.startswith(CODE_SERVER) for name in deployments))

    def _migrate(self, rendered: list[Manifest]) -> None:
        self.kubectl.run("delete", "job", MIGRATION, "--ignore-not-found", "--wait=true")
        self.kubectl.apply(rendered, "migrate")
        self.kubectl.wait_for_job(MIGRATION, self.patience.migration)

    def _check(self, locations: int) -> None:
        with self.kubectl.forwarded("dagster-webserver", 3000) as address:
            health.eventually(lambda: health.webserver(address, locations), self.patience.health)
        with self.kubectl.forwarded("mlflow", 5000) as address:
            health.eventually(lambda: health.mlflow(address), self.patience.health)

    def _record(self, release: Release) -> None:
        content = {"revision": release.revision, "overlay": release.overlay, "images": dict(release.images)}
        record = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": RECORD, "labels": {"app.kubernetes.io/part-of": NAMESPACE}},
            "data": {"release": json.dumps(content)},
        }
        self.kubectl.put(record)


def say(text: str) -> None:
    """One line into the log at once."""
    print(text, flush=True)


def main() -> int:
    """Deploy what the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--overlay", required=True, help="a folder of k8s/overlays")
    parser.add_argument("--revision", required=True, help="the commit whose manifests are applied")
    parser.add_argument("--images", required=True, type=json.loads, help="JSON: name → address by digest")
    parser.add_argument("--kubectl", default="kubectl")
    for name in ("migration", "rollout", "health"):
        parser.add_argument(f"--{name}-seconds", type=float, default=getattr(Patience, name))
    given = parser.parse_args()
    patience = Patience(given.migration_seconds, given.rollout_seconds, given.health_seconds)
    deployer = Deployer(Kubectl(NAMESPACE, given.kubectl), patience)
    return deployer.deploy(Release(given.revision, given.overlay, given.images))


if __name__ == "__main__":
    sys.exit(main())
