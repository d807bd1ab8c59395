"""Batch and live inference with the exported model; no torch here.

Every photo goes through `photos/pixels.network_input`, as dataset export does. As many photos as there are threads are
worked on beside each other, each from its bytes to its boxes, so that no core waits for another. The runtimes are in
`runtimes.py`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from mlops_assets.boxes import BOX_COLUMNS, BOX_SCHEMA
from mlops_assets.class_keys import class_key
from mlops_assets.detector.export import read_metadata
from mlops_assets.detector.feature_maps import FEATURES
from mlops_assets.detector.runtimes import Runtime, open_network
from mlops_assets.detector.suppression import NMS_IOU, Detections, suppress
from mlops_assets.photos.parallel import opencv_alone
from mlops_assets.photos.pixels import Letterbox, UnreadableImageError, network_input

PREDICTIONS = pl.Schema(
    {
        "photo_id": pl.String(),
        "class_id": pl.Int32(),
        "confidence": pl.Float64(),
        **BOX_SCHEMA,
        "model_version": pl.String(),
    }
)
"""One row a detection; a photo looked at with nothing found has one row whose class is null."""


@dataclass(frozen=True)
class Observation:
    """All that one run of the network says about a photo.

    Attributes:
        photo_id: As given.
        detections: After suppression, boxes relative to the upright photo (centre, width, height).
        raw: (4 + classes, anchors), see `OnnxPredictor.raw`.
        features: (channels, rows, columns) of the finest level, see `feature_maps`; None where the model was exported
            without them, or nobody asked.
        placed: How the photo lies on the network's input.
    """

    photo_id: str
    detections: Detections
    raw: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None
    placed: Letterbox


class PredictionError(RuntimeError):
    """The model does not fit its class list, or a photo cannot be read; the message says which and what to do."""


class OnnxPredictor:
    """An exported detector, open for inference.

    Args:
        path: Model of `export.export_onnx`.
        class_ids: The class of each output index, in order.
        threads: CPU threads, and photos that are worked on at a time.
        device: `cpu`, or a GPU, see `runtimes.open_network`.
        runtime: None for the faster one.

    Raises:
        PredictionError: The file is missing, or its class names are not those of `class_ids`.
        NetworkError: The runtime cannot read it.
        ExportError: Not an export of `export_onnx`.
    """

    def __init__(
        self,
        path: Path,
        class_ids: Sequence[int],
        *,
        threads: int,
        device: str = "cpu",
        runtime: Runtime | None = None,
    ) -> None:
        if not path.is_file():
            raise PredictionError(f"No model at {path}; download or export it first")
        self._network = open_network(path, threads=threads, device=device, runtime=runtime)
        metadata = read_metadata(self._network.properties, path)
        expected = tuple(class_key(class_id) for class_id in class_ids)
        if metadata.class_names != expected:
            raise PredictionError(
                f"{path} finds {', '.join(metadata.class_names)}, but the class list says {', '.join(expected)}; "
                "take the class map stored with this model version"
            )
        self.runtime = self._network.runtime
        self.description = self._network.description
        self.image_size = metadata.image_size
        self.class_ids = np.asarray(class_ids, dtype=np.int32)
        self.feature_channels = metadata.feature_channels
        self.threads = threads
        self.ahead = 2 * threads
        """Photos that `observe` has begun with and not yet given."""

    @property
    def has_features(self) -> bool:
        """Whether the model was exported with its features; versions of before are without."""
        return bool(self.feature_channels)

    def raw(self, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the network on (batch, 3, rows, columns), RGB, 0 to 1; returns (batch, 4 + classes, anchors)."""
        return self._network.run(tensor, self._network.outputs[:1])[0]

    def raw_with_features(
        self, tensor: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """As `raw`, with the features, (batch, channels, rows, columns), where the model has them."""
        if not self.has_features:
            return self.raw(tensor), None
        output, features = self._network.run(tensor, [self._network.outputs[0], FEATURES])
        return output, features

    def detect(self, content: bytes, *, confidence: float, iou: float = NMS_IOU) -> Detections:
        """Detect in one photo, on one thread; boxes are centre, width and height relative to the upright photo.

        May be called from several threads.

        Raises:
            UnreadableImageError: Not a picture, or a broken one.
        """
        tensor, placed = network_input(content, self.image_size)
        return _placed_detections(self.raw(tensor[None])[0], placed, confidence, iou)

    def predict(
        self,
        photo_ids: Iterable[str],
        read_photo: Callable[[str], bytes],
        *,
        confidence: float,
        iou: float = NMS_IOU,
    ) -> Iterator[tuple[str, Detections]]:
        """Detect in many photos, in their order; as `observe`, of which photo_id and detections are given."""
        for seen in self.observe(photo_ids, read_photo, confidence=confidence, iou=iou, features=False):
            yield seen.photo_id, seen.detections

    def observe(
        self,
        photo_ids: Iterable[str],
        read_photo: Callable[[str], bytes],
        *,
        confidence: float,
        iou: float = NMS_IOU,
        features: bool = True,
    ) -> Iterator[Observation]:
        """Look at many photos, in their order; at most `ahead` + 1 are held at a time.

        Args:
            photo_ids: Consumed as the work goes on, so that it may be endless.
            read_photo: Bytes of a photo; called from several threads. What it raises ends the iteration.
            confidence: Lowest confidence kept, exclusive.
            iou: Overlap above which the weaker of two boxes of one class is dropped.
            features: Whether they are wanted, where the model has them.

        Raises:
            PredictionError: A photo's bytes are no picture.
        """

        def look(photo_id: str) -> Observation:
            try:
                tensor, placed = network_input(read_photo(photo_id), self.image_size)
            except UnreadableImageError as error:
                raise PredictionError(f"Photo {photo_id} cannot be decoded ({error}); ingest its day again") from error
            raw, maps = self.raw_with_features(tensor[None]) if features else (self.raw(tensor[None]), None)
            found = _placed_detections(raw[0], placed, confidence, iou)
            return Observation(photo_id, found, raw[0], None if maps is None else maps[0], placed)

        todo = iter(photo_ids)
        with opencv_alone(), ThreadPoolExecutor(self.threads, thread_name_prefix="photos") as pool:
            pending: deque[Future[Observation]] = deque()
            try:
                pending.extend(pool.submit(look, photo_id) for photo_id in islice(todo, self.ahead))
                while pending:
                    seen = pending.popleft().result()
                    pending.extend(pool.submit(look, following) for following in islice(todo, 1))
                    yield seen
            finally:
                for future in pending:
                    future.cancel()


def _placed_detections(raw: npt.NDArray[np.float32], placed: Letterbox, confidence: float, iou: float) -> Detections:
    found = suppress(raw, confidence, iou)
    boxes = placed.to_relative(found.boxes.astype(np.float32))
    inside = (boxes[:, 2:] > 0).all(axis=1)  # a box that lies in the letterbox margin only is clipped to nothing
    return Detections(found.index[inside], found.confidence[inside], boxes[inside])


def detect_photos(
    predictor: OnnxPredictor,
    photo_ids: Iterable[str],
    read_photo: Callable[[str], bytes],
    *,
    model_version: str,
    confidence: float,
    progress: Callable[[int], None] | None = None,
    also: Callable[[Observation], None] | None = None,
) -> pl.DataFrame:
    """Detect in photos and return the rows of `PREDICTIONS`; a photo with nothing found has one row with null class.

    Args:
        predictor: The open model.
        photo_ids: Photos to look at.
        read_photo: Bytes of a photo; called from several threads.
        model_version: Written to every row.
        confidence: Lowest confidence kept, exclusive.
        progress: Called after each photo with the number done.
        also: Called with each photo's observation, for what else is read from the same run of the network.

    Raises:
        PredictionError: A photo's bytes are no picture.
    """
    found = []
    seen_by = predictor.observe(photo_ids, read_photo, confidence=confidence, features=also is not None)
    for done, seen in enumerate(seen_by, start=1):
        found.append((seen.photo_id, seen.detections))
        if also is not None:
            also(seen)
        if progress is not None:
            progress(done)
    return prediction_rows(found, predictor.class_ids, model_version)


def prediction_rows(
    found: Sequence[tuple[str, Detections]], class_ids: npt.NDArray[np.int32], model_version: str
) -> pl.DataFrame:
    """Rows of `PREDICTIONS` for what was found on each photo, by photo_id."""
    if not found:
        return PREDICTIONS.to_frame()
    counts = [len(each.index) for _, each in found]
    rows = np.maximum(counts, 1)
    nothing = np.repeat(np.equal(counts, 0), rows)

    def column(parts: list[npt.NDArray[np.generic]], empty: float) -> pl.Series:
        filled = [part if len(part) else np.array([empty], part.dtype) for part in parts]
        return pl.Series(np.concatenate(filled)).set(pl.Series(nothing), None)

    columns = {
        "photo_id": np.repeat([photo_id for photo_id, _ in found], rows),
        "class_id": column([class_ids[each.index] for _, each in found], 0),
        "confidence": column([each.confidence.astype(np.float64) for _, each in found], 0.0),
        **{name: column([each.boxes[:, i] for _, each in found], 0.0) for i, name in enumerate(BOX_COLUMNS)},
        "model_version": [model_version] * int(rows.sum()),
    }
    return pl.DataFrame(columns, schema_overrides=PREDICTIONS).select(PREDICTIONS.names())
