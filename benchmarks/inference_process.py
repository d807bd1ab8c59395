"""One way to detect in photos, in a process of its own: warmed up once, then as many rounds as it is asked for.

`python -m benchmarks.inference_process '{"way": "ours", …}'`: each line on stdin is a JSON list of files to look at,
and is answered by the seconds that it took. With a second argument what is found is written there, as Parquet.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.detector.predictor import PREDICTIONS, OnnxPredictor, detect_photos
from mlops_assets.detector.runtimes import import_openvino
from mlops_assets.detector.snapshot import EVALUATION_CONFIDENCE
from mlops_assets.detector.ultralytics_setup import go_offline, prepare_ultralytics

CONFIDENCE = 0.25
"""As `yolo predict` has it."""

Look = Callable[[Sequence[str]], object]


def ours(way: dict[str, Any]) -> Look:
    """The project's predictor: bytes of the files in, boxes out."""
    predictor = _predictor(way)

    def look(files: Sequence[str]) -> int:
        found = predictor.predict(files, lambda file: Path(file).read_bytes(), confidence=CONFIDENCE)
        return sum(len(each.index) for _, each in found)

    return look


def ultralytics(way: dict[str, Any]) -> Look:
    """`yolo predict` through its Python interface, which the command line calls; no pictures are saved."""
    model = _model(way)

    def look(files: Sequence[str]) -> int:
        source: Any = list(files)
        if way.get("input") == "folder":
            source = str(Path(files[0]).parent)
        results = model.predict(source, stream=True, batch=way["batch"], imgsz=way["size"], device="cpu", verbose=False)
        return sum(len(result.boxes) for result in results)

    return look


def _predictor(way: dict[str, Any]) -> OnnxPredictor:
    return OnnxPredictor(Path(way["model"]), way["class_ids"], threads=way["threads"], runtime=way.get("runtime"))


def _model(way: dict[str, Any]) -> Any:
    import_openvino()
    if way["threads"] is None:
        go_offline()  # its own choice of threads
    else:
        os.environ["OMP_NUM_THREADS"] = str(way["threads"])
        prepare_ultralytics(way["threads"])
    from ultralytics import YOLO

    return YOLO(way["model"], task="detect")


def find(way: dict[str, Any], files: Sequence[str]) -> pl.DataFrame:
    """PREDICTIONS down to the lowest confidence, photo_id being the file's name."""
    if way["way"] == "ours":
        names = {Path(file).stem: file for file in files}
        return detect_photos(
            _predictor(way),
            names,
            lambda name: Path(names[name]).read_bytes(),
            model_version="ours",
            confidence=EVALUATION_CONFIDENCE,
        )
    model = _model(way)
    results = model.predict(
        list(files), stream=True, imgsz=way["size"], device="cpu", verbose=False, conf=EVALUATION_CONFIDENCE
    )
    return pl.concat([PREDICTIONS.to_frame(), *_rows(results, way["class_ids"])])


def _rows(results: Any, class_ids: Sequence[int]) -> Iterator[pl.DataFrame]:
    for result in results:
        boxes = result.boxes.xywhn.numpy().astype("float64")
        n = len(boxes)
        columns = {
            "photo_id": [Path(result.path).stem] * n,
            "class_id": [class_ids[int(index)] for index in result.boxes.cls],
            "confidence": result.boxes.conf.numpy().astype("float64"),
            **{name: boxes[:, i] for i, name in enumerate(BOX_COLUMNS)},
            "model_version": ["ultralytics"] * n,
        }
        yield pl.DataFrame(columns, schema=PREDICTIONS)


def main() -> None:
    """Answer until stdin ends."""
    way = json.loads(sys.argv[1])
    if len(sys.argv) > 2:
        find(way, json.loads(sys.stdin.readline())).write_parquet(sys.argv[2])
        return
    look = {"ours": ours, "ultralytics": ultralytics}[way["way"]](way)
    for line in sys.stdin:
        files = json.loads(line)
        started = time.perf_counter()
        look(files)
        print(f"seconds {time.perf_counter() - started}", flush=True)


if __name__ == "__main__":
    main()
