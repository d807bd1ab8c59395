"""The champion of another use case, which a first training may start from: the same registry, other classes.

What of its weights is taken over is decided in `weights`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlops_assets.detector import files


class Version(Protocol):
    """A version in the model registry."""

    @property
    def version(self) -> str:
        """As the registry counts."""


class Registry(Protocol):
    """The registered model of the other use case."""

    @property
    def model_name(self) -> str:
        """Its name in the registry."""

    def champion(self) -> Version | None:
        """The version that serves, None before there is one."""

    def download(self, version: str, name: str, folder: Path) -> Path:
        """A file of a version as a local file."""


@dataclass(frozen=True)
class OtherChampion:
    """Registered model, version and checkpoint of another use case's champion; version and weights None: it has none.

    The weights are as they were registered, with the other use case's classes.
    """

    model: str
    version: str | None = None
    weights: Path | None = None

    def __str__(self) -> str:
        """In words, for logs and metadata."""
        return f"{self.model} version {self.version}" if self.version else f"{self.model}, which has no champion yet"


def other_champion(registry: Registry, folder: Path) -> OtherChampion:
    """Find the champion and bring its weights; none yet is no error, since use cases may start on the same day.

    Args:
        registry: The other use case's registered model.
        folder: Cache of downloaded models.
    """
    champion = registry.champion()
    if champion is None:
        return OtherChampion(registry.model_name)
    weights = registry.download(champion.version, files.WEIGHTS, folder)
    return OtherChampion(registry.model_name, champion.version, weights)
