"""Batch and live inference with the exported model; no torch here.

Every photo goes through `photos/pixels.network_input`, as dataset export does. Reading and decoding the next photos
runs beside the network.
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
from mlops_assets.detector.suppression import NMS_IOU, Detections, suppress
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
            without them.
        placed: How the photo lies on the network's input.
    """

    photo_id: str
    detections: Detections
    raw: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None
    placed: Letterbox


_Prepared = tuple[str, npt.NDArray[np.float32], Letterbox]


class PredictionError(RuntimeError):
    """The model does not fit its class list, or a photo cannot be read; the message says which and what to do."""


class OnnxPredictor:
    """An exported detector, open for inference on the CPU.

    Args:
        path: Model of `export.export_onnx`.
        class_ids: The class of each output index, in order.
        threads: CPU threads of the network, and as many for reading and decoding.

    Raises:
        PredictionError: The file is missing, or its class names are not those of `class_ids`.
        ExportError: Not an export of `export_onnx`.
    """

    def __init__(self, path: Path, class_ids: Sequence[int], *, threads: int) -> None:
        import onnxruntime

        if not path.is_file():
            raise PredictionError(f"No model at {path}; download or export it first")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        metadata = read_metadata(self._session, path)
        expected = tuple(class_key(class_id) for class_id in class_ids)
        if metadata.class_names != expected:
            raise PredictionError(
                f"{path} finds {', '.join(metadata.class_names)}, but the class list says {', '.join(expected)}; "
                "take the class map stored with this model version"
            )
        self.image_size = metadata.image_size
        self.class_ids = np.asarray(class_ids, dtype=np.int32)
        self._threads = threads
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.feature_channels = metadata.feature_channels

    @property
    def has_features(self) -> bool:
        """Whether the model was exported with its features; versions of before are without."""
        return bool(self.feature_channels)

    def raw(self, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the network on (batch, 3, size, size), RGB, 0 to 1; returns (batch, 4 + classes, anchors)."""
        (output,) = self._session.run(self._outputs[:1], {self._input: tensor})
        return np.asarray(output, dtype=np.float32)

    def raw_with_features(
        self, tensor: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """As `raw`, with the features, (batch, channels, rows, columns), where the model has them."""
        if not self.has_features:
            return self.raw(tensor), None
        output, features = self._session.run([self._outputs[0], FEATURES], {self._input: tensor})
        return np.asarray(output, dtype=np.float32), np.asarray(features, dtype=np.float32)

    def detect(self, content: bytes, *, confidence: float, iou: float = NMS_IOU) -> Detections:
        """Detect in one photo; boxes are centre, width and height relative to the upright photo.

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
        for seen in self.observe(photo_ids, read_photo, confidence=confidence, iou=iou):
            yield seen.photo_id, seen.detections

    def observe(
        self,
        photo_ids: Iterable[str],
        read_photo: Callable[[str], bytes],
        *,
        confidence: float,
        iou: float = NMS_IOU,
    ) -> Iterator[Observation]:
        """Look at many photos, in their order; at most 2 x threads + 1 decoded photos are held at a time.

        Args:
            photo_ids: Consumed as the work goes on, so that it may be endless.
            read_photo: Bytes of a photo; called from several threads. What it raises ends the iteration.
            confidence: Lowest confidence kept, exclusive.
            iou: Overlap above which the weaker of two boxes of one class is dropped.

        Raises:
            PredictionError: A photo's bytes are no picture.
        """

        def prepare(photo_id: str) -> _Prepared:
            try:
                return photo_id, *network_input(read_photo(photo_id), self.image_size)
            except UnreadableImageError as error:
                raise PredictionError(f"Photo {photo_id} cannot be decoded ({error}); ingest its day again") from error

        todo = iter(photo_ids)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="decode") as pool:
            pending: deque[Future[_Prepared]] = deque()
            try:
                pending.extend(pool.submit(prepare, photo_id) for photo_id in islice(todo, 2 * self._threads))
                while pending:
                    photo_id, tensor, placed = pending.popleft().result()
                    pending.extend(pool.submit(prepare, following) for following in islice(todo, 1))
                    raw, features = self.raw_with_features(tensor[None])
                    found = _placed_detections(raw[0], placed, confidence, iou)
                    yield Observation(photo_id, found, raw[0], None if features is None else features[0], placed)
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
    frames = [PREDICTIONS.to_frame()]
    for done, seen in enumerate(predictor.observe(photo_ids, read_photo, confidence=confidence), start=1):
        frames.append(_rows(seen.photo_id, seen.detections, predictor.class_ids, model_version))
        if also is not None:
            also(seen)
        if progress is not None:
            progress(done)
    return pl.concat(frames)


def _rows(photo_id: str, found: Detections, class_ids: npt.NDArray[np.int32], model_version: str) -> pl.DataFrame:
    n = len(found.index)
    columns: dict[str, object] = {
        "photo_id": [photo_id] * max(n, 1),
        "class_id": class_ids[found.index] if n else [None],
        "confidence": found.confidence.astype(np.float64) if n else [None],
        "model_version": [model_version] * max(n, 1),
    }
    columns |= {name: found.boxes[:, i] if n else [None] for i, name in enumerate(BOX_COLUMNS)}
    return pl.DataFrame(columns, schema_overrides=PREDICTIONS).select(PREDICTIONS.names())
