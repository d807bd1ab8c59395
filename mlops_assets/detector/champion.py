"""The detector that serves, as its last decision recorded it; needs no MLflow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from mlops_assets.detector.schema import CHAMPION_DETECTOR


class TableReader(Protocol):
    """What is needed of the table resource."""

    def read(self, name: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The last version of a table, empty if there is none."""


@dataclass(frozen=True)
class Champion:
    """Version, class names by id in the order of the network's outputs, confidence from which each class counts.

    export_sha256 and references_sha256 name the bytes of its ONNX file and of its features of known equipment, so that
    a copy at hand can be used without asking the registry; the latter is None for a version that has none.
    """

    version: str
    class_map: dict[int, str]
    thresholds: dict[int, float]
    export_sha256: str
    references_sha256: str | None = None


def parse_class_map(text: str) -> dict[int, str]:
    """Read a class map's JSON {class_id: class_name}, in the order of the network's outputs."""
    return dict(sorted((int(key), str(name)) for key, name in json.loads(text).items()))


def parse_class_boxes(text: str) -> dict[int, int]:
    """Read JSON {class_id: boxes}, what a candidate was trained on."""
    return {int(key): int(boxes) for key, boxes in json.loads(text).items()}


def latest_champion(tables: TableReader) -> Champion | None:
    """The champion after the last decision, or None while there is none."""
    decisions = tables.read("champion_detector", CHAMPION_DETECTOR)
    if decisions.is_empty():
        return None
    last = decisions.row(-1, named=True)
    if last["champion_version"] is None:
        return None
    return Champion(
        version=last["champion_version"],
        class_map=parse_class_map(last["champion_class_map"]),
        thresholds={int(k): float(v) for k, v in json.loads(last["champion_thresholds"]).items()},
        export_sha256=last["champion_export"],
        references_sha256=last["champion_references"],
    )
