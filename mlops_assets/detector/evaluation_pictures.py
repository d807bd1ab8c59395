"""The pictures of an evaluation: small ones for the asset's page, large ones for its MLflow run.

What they show is worked out in `evaluation_report.py`.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mlops_assets.detector import evaluation_charts as charts
from mlops_assets.detector.evaluation_report import Report
from mlops_assets.detector.worst_misses import contact_sheet, encode_jpeg, miss_picture
from resources.mlflow_pictures import SHEET, delete_named_pictures, log_named_pictures

ReadPhoto = Callable[[str], bytes]
"""Bytes of a normalised photo."""

_ON_PAGE = 6
"""The very worst photos, as many as can be made out in the bytes that a page allows."""

_PAGE_SIDE, _SHEET_SIDE = 330, 640


class Tracking(Protocol):
    """The MLflow run of this evaluation."""

    @property
    def run_id(self) -> str:
        """Of the run."""

    @property
    def client(self) -> Any:
        """Of MLflow."""

    @property
    def tracking_uri(self) -> str:
        """Address of MLflow."""


def small_charts(report: Report) -> dict[str, bytes]:
    """PNGs by name, small enough for the asset's page; the champion's own are with the run only."""
    shown = {name: figure for name, figure in report.charts.items() if not name.endswith("_champion")}
    return {name: charts.render(figure, charts.UI_BYTES) for name, figure in shown.items()}


def small_misses(report: Report, read_photo: ReadPhoto, names: Mapping[int, str]) -> tuple[bytes, str] | None:
    """JPEG of the very worst photos for the asset's page, and their ids, by which an erasure finds it.

    None where nothing is wrong.
    """
    worst = report.misses[:_ON_PAGE]
    together = contact_sheet(worst, read_photo, names, side=_PAGE_SIDE)
    if together is None:
        return None
    return encode_jpeg(together, charts.UI_BYTES), " ".join(miss.photo_id for miss in worst)


def log_pictures(
    report: Report,
    model_version: str,
    tracking: Tracking,
    *,
    read_photo: ReadPhoto,
    names: Mapping[int, str],
    erased: Callable[[], set[str]],
    scratch: Path,
) -> None:
    """Keep the large pictures with the MLflow run, none of a photo that is erased meanwhile.

    Args:
        report: Of the evaluation.
        model_version: Of the candidate.
        tracking: The run.
        read_photo: Bytes of a normalised photo.
        names: Display names.
        erased: photo_ids of all tombstones.
        scratch: Folder for what is being written.
    """
    target, shown = f"evaluation/version-{model_version}", {miss.photo_id for miss in report.misses}
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="evaluation-", dir=scratch) as temporary:
        drawn, misses = Path(temporary, "charts"), Path(temporary, "misses")
        for folder in (drawn, misses):
            folder.mkdir()
        for name, figure in report.charts.items():
            (drawn / f"{name}.png").write_bytes(charts.render(figure))
        tracking.client.log_artifacts(tracking.run_id, str(drawn), target)
        together = contact_sheet(report.misses, read_photo, names, side=_SHEET_SIDE)
        if together is not None:
            (misses / SHEET).write_bytes(encode_jpeg(together))
            for miss in report.misses:
                (misses / miss.file_name).write_bytes(encode_jpeg(miss_picture(miss, read_photo, names)))
            log_named_pictures(tracking.client, tracking.run_id, misses, target, shown)
    # Looked for afterwards: an erasure whose tombstone is not there yet finds the pictures itself.
    if gone := shown & erased():
        delete_named_pictures(tracking.tracking_uri, tracking.run_id, gone)
