"""What the container registry knows of an image, by `docker buildx imagetools`, which needs no engine."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

PREFIX = "enclosure-catalog-"
REVISION = "org.opencontainers.image.revision"


@dataclass(frozen=True)
class Registry:
    """One owner's images, `address` as ghcr.io/owner; `docker` is the program."""

    address: str
    docker: str = "docker"

    def digest(self, image: str) -> str | None:
        """`sha256:…` that a tag stands for; None if there is none."""
        found = self._inspect(image, "{{json .Manifest}}")
        return None if found is None else str(found["digest"])

    def revision(self, image: str) -> str | None:
        """The commit that an image says it was built from; None if there is no image, or it does not say."""
        return label(self._inspect(image, "{{json .Image}}"), REVISION)

    def _inspect(self, image: str, template: str) -> Any:
        command = [self.docker, "buildx", "imagetools", "inspect", f"{self.address}/{image}", "--format", template]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own command
        if done.returncode:
            print(f"{self.address}/{image}: {done.stderr.strip()}", file=sys.stderr)
            return None
        return json.loads(done.stdout)


def label(image: Any, name: str) -> str | None:
    """A label anywhere in an image's configuration, or in those of its platforms."""
    if isinstance(image, dict):
        if isinstance(value := image.get(name), str):
            return value
        return next((found for part in image.values() if (found := label(part, name))), None)
    return None
