"""Decisions as rows of CHAMPION_DETECTOR, with what whoever detects needs to know of the champion after them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import polars as pl

from mlops_assets.detector import files
from mlops_assets.detector.candidate import ModelVersion
from mlops_assets.detector.deciding import Outcome
from mlops_assets.detector.decisions import MOVES
from mlops_assets.detector.schema import CHAMPION_DETECTOR


class WithFiles(ModelVersion, Protocol):
    """A version with its files by name and SHA-256."""

    @property
    def files(self) -> Mapping[str, str]:
        """File name to SHA-256 in hex."""


class Versions(Protocol):
    """What is needed of the model registry."""

    def version(self, version: str) -> WithFiles:
        """One version."""

    def champion(self) -> WithFiles | None:
        """What serves."""


def with_decisions(
    history: pl.DataFrame,
    outcomes: Sequence[Outcome],
    versions: Versions,
    *,
    candidate: str,
    class_boxes: str | None,
    snapshot: str,
    run_id: str,
) -> pl.DataFrame:
    """CHAMPION_DETECTOR with the newest decisions at its end.

    Args:
        history: CHAMPION_DETECTOR so far.
        outcomes: In their order; after the last serves what the registry says.
        versions: The registry.
        candidate: The newest candidate, which `snapshot` was looked at with.
        class_boxes: What it was trained on, as in DETECTOR_WEIGHTS.
        snapshot: Name of the test set.
        run_id: Dagster's run that decides.
    """
    boxes = {row["model_version"]: row["class_boxes"] for row in history.iter_rows(named=True)}
    boxes[candidate] = class_boxes
    rows = []
    for outcome in outcomes:
        is_last = outcome is outcomes[-1]
        serving = versions.champion() if is_last else versions.version(outcome.version)
        measured = outcome.kind not in MOVES and outcome.version == candidate
        rows.append(
            {
                "model_version": outcome.version,
                "promoted": outcome.promoted,
                "reasons": outcome.reasons,
                "test_snapshot": snapshot if measured else None,
                **_champion(serving),
                "decided_at": dt.datetime.now(dt.UTC),
                "class_boxes": boxes.get(outcome.version),
                "run_id": run_id,
                "kind": outcome.kind,
                "decided_by": outcome.by,
                "why": outcome.why,
            }
        )
    return pl.concat([history, pl.DataFrame(rows, schema=CHAMPION_DETECTOR)])


def _champion(serving: WithFiles | None) -> dict[str, Any]:
    return {
        "champion_version": serving.version if serving else None,
        "champion_class_map": serving.tags["class_map"] if serving else None,
        "champion_thresholds": serving.tags["thresholds"] if serving else None,
        "champion_export": serving.files[files.ONNX] if serving else None,
        "champion_references": serving.files.get(files.REFERENCES) if serving else None,
    }
