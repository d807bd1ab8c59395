"""One version of the detector, open and warm: what answers requests until another takes its place.

Which version that is belongs to `following`.
"""

import dataclasses
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlops_assets.detector import files
from mlops_assets.detector.answers import boxes, lowest
from mlops_assets.detector.judging import class_map_of, thresholds_of
from mlops_assets.detector.predictor import OnnxPredictor
from mlops_assets.photos.pixels import UnreadableImageError
from mlops_assets.serving.photos import PhotoLimits, take
from mlops_assets.serving.refusals import RefusalError

WARM_UPS = 2
"""Photos before a version serves: the first run of a network allocates its memory."""


class RegisteredVersion(Protocol):
    """A version in the model registry."""

    @property
    def version(self) -> str:
        """As the registry counts."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Among them class_map and thresholds."""


Download = Callable[[str, str], Path]
"""Local path of a file (second) of a version (first), whose SHA-256 is the registered one."""


@dataclass(frozen=True)
class ServedDetector:
    """A version that is ready to answer; threads may call it at the same time.

    Attributes:
        version: As the registry counts.
        names: Class names by id, in the order of the network's outputs.
        thresholds: Confidence from which each class counts.
        predictor: The open network.
        limits: Of photos.
    """

    version: str
    names: Mapping[int, str]
    thresholds: Mapping[int, float]
    predictor: OnnxPredictor
    limits: PhotoLimits

    def detect(self, content: bytes, confidence: float | None = None) -> dict[str, Any]:
        """Boxes of one photo, as JSON carries them.

        Args:
            content: Bytes as they were sent.
            confidence: Instead of the classes' thresholds.

        Raises:
            RefusalError: Not a photo that can be looked at.
        """
        started = time.perf_counter()
        photo = take(content, self.limits)
        thresholds = self.thresholds if confidence is None else dict.fromkeys(self.names, confidence)
        try:
            found = self.predictor.detect(photo.content, confidence=lowest(thresholds))
        except UnreadableImageError as error:
            raise RefusalError(400, f"The photo cannot be decoded: {error}. Send the file as it was taken.") from error
        return {
            "boxes": boxes(found, list(self.names), self.names, thresholds),
            "width": photo.width,
            "height": photo.height,
            "milliseconds": round(1000 * (time.perf_counter() - started), 2),
        }

    def with_thresholds(self, thresholds: Mapping[int, float]) -> "ServedDetector":
        """The same open network under other thresholds."""
        return dataclasses.replace(self, thresholds=thresholds)


def thresholds_for(version: RegisteredVersion, default: float) -> dict[int, float]:
    """Each class's threshold as it was chosen on val, `default` for a class or a version without."""
    chosen = thresholds_of(version) if "thresholds" in version.tags else {}
    return {class_id: chosen.get(class_id, default) for class_id in class_map_of(version)}


def open_version(
    version: RegisteredVersion,
    download: Download,
    *,
    default_threshold: float,
    limits: PhotoLimits,
    threads: int,
) -> ServedDetector:
    """Fetch a version, open it and let it look at a blank photo or two.

    Args:
        version: In the registry.
        download: Brings its export.
        default_threshold: For classes whose threshold it does not name.
        limits: Of photos.
        threads: That will call `detect` at the same time.

    Raises:
        PredictionError: The export does not fit the class map.
        ModelRegistryError: Its bytes are not those that were registered.
    """
    names = class_map_of(version)
    predictor = OnnxPredictor(download(version.version, files.ONNX), list(names), threads=threads)
    opened = ServedDetector(version.version, names, thresholds_for(version, default_threshold), predictor, limits)
    for _ in range(WARM_UPS):
        opened.detect(_blank())
    return opened


def _blank() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (128, 128, 128)).save(buffer, "JPEG")
    return buffer.getvalue()
