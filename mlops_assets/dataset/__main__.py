"""Dataset versions from a shell: `python -m mlops_assets.dataset list | diff [A] [B] | export VERSION FOLDER`.

A version is given by its first digits, or as `latest` or `previous`; the store is that of the settings (`MLOPS_…`).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mlops_assets.dataset import history
from mlops_assets.dataset.difference import as_markdown, difference
from mlops_assets.dataset.export import DatasetExportError, Photos, export_yolo
from mlops_assets.dataset.restoring import open_version
from mlops_assets.dataset.schema import DATASET_VERSIONS
from resources.dataset_photos import DamagedDatasetError
from resources.dataset_versions import DatasetVersions, VoidDatasetError
from resources.settings import SettingsError, load_settings
from resources.tables import Tables

REFUSALS = (
    history.UnknownVersionError,
    DamagedDatasetError,
    VoidDatasetError,
    DatasetExportError,
    SettingsError,
)
"""What a person can put right; anything else shows where it happened."""

SHOWN_DIGITS = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 where it was refused, with the reason on the error output."""
    given = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        root = settings.places(given.use_case or settings.use_case).store
        versions, log = DatasetVersions(root=root), Tables(root=root).read(history.TABLE, DATASET_VERSIONS)
        if given.command == "list":
            said = _listed(versions, log)
        elif given.command == "diff":
            said = _compared(versions, log, given.before, given.after, given.rows)
        else:
            name = history.resolved(given.version, log, versions.fingerprints())
            said = _export(versions, name, given.folder, given.image_size, given.workers or settings.thread_count())
    except REFUSALS as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mlops_assets.dataset", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--use-case", help="another one than MLOPS_USE_CASE")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every version that the dataset has been, the last one first, as Markdown")
    diff = commands.add_parser("diff", help="what changed from one version to another, as Markdown")
    diff.add_argument("before", nargs="?", default=history.PREVIOUS)
    diff.add_argument("after", nargs="?", default=history.LATEST)
    diff.add_argument("--rows", type=int, default=50, help="photos that are listed one by one")
    export = commands.add_parser("export", help="a version in YOLO layout, its photos as they were then")
    export.add_argument("version")
    export.add_argument("folder", type=Path, help="empty, or with an export of the same version that was cut off")
    export.add_argument("--image-size", type=int, help="long side in pixels; left out, photos stay byte for byte")
    export.add_argument("--workers", type=int, help="threads; left out, as many as the process may use")
    return parser


def _listed(versions: DatasetVersions, log: pl.DataFrame) -> str:
    lines = ["| version | made at (UTC) | photos | boxes | classes | code | |", "|" + " --- |" * 7]
    for row in log.reverse().iter_rows(named=True):
        name = row["fingerprint"]
        state = "void: a photo was erased" if versions.is_void(name) else "" if versions.has(name) else "gone"
        made_at = f"{row['made_at']:%Y-%m-%d %H:%M}"
        cells = (name[:SHOWN_DIGITS], made_at, row["photos"], row["boxes"], row["classes"], row["code"], state)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _compared(versions: DatasetVersions, log: pl.DataFrame, before: str, after: str, rows: int) -> str:
    stored = versions.fingerprints()
    first, second = (open_version(versions, history.resolved(name, log, stored)) for name in (before, after))
    found = difference(first.rows, second.rows, first.class_map, second.class_map)
    names = {**first.class_map, **second.class_map}
    return as_markdown(found, names, before=first.fingerprint, after=second.fingerprint, most_rows=rows)


def _export(versions: DatasetVersions, name: str, folder: Path, image_size: int | None, workers: int) -> str:
    version = open_version(versions, name)
    photos = Photos(version.photos, version.photos.file)
    return str(
        export_yolo(version.rows, sorted(version.class_map), photos, folder, image_size=image_size, workers=workers)
    )


if __name__ == "__main__":
    sys.exit(main())
