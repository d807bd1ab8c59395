"""Photos and their labels taken in by the project's own assets, the racks of ../shared/data above all."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from definitions import build_defs
from mlops_assets.dataset.versions import active_class_map
from mlops_assets.jobs import IMPORT_LABELS, INGEST_DAY
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase, load_use_case
from resources.photo_store import PhotoStore
from resources.settings import PROJECT, Settings
from resources.tables import Tables

RACKS = PROJECT.parent / "shared" / "data" / "racks"
RACKS_USE_CASE = Path(__file__).parent / "use_cases" / "racks.yaml"


@dataclass(frozen=True)
class Labelled:
    """A training dataset with what is needed to train on it."""

    use_case: UseCase
    dataset: pl.DataFrame
    class_map: dict[int, str]
    read_photo: Callable[[str], bytes]

    def sentence(self) -> str:
        """Photos and enclosures by split."""
        counts = self.dataset.group_by("split", maintain_order=True).agg(
            pl.n_unique("photo_id").alias("photos"), pl.n_unique("enclosure_id").alias("enclosures")
        )
        parts = [
            f"{row['split']} {row['photos']} photos of {row['enclosures']} enclosures" for row in counts.to_dicts()
        ]
        return f"{len(self.class_map)} classes; {', '.join(parts)}"


def prepare_racks(
    home: Path, *, split_seed: int, days: Sequence[str] | None = None, labels: Sequence[str] | None = None
) -> Labelled:
    """Ingest days, import labels and build the dataset.

    Args:
        home: Folder of all that is written.
        split_seed: Of the split by enclosure.
        days: Folders of the landing zone; all where None.
        labels: Files of the label drop; all where None.

    Raises:
        FileNotFoundError: The photos are not there.
        RuntimeError: A run failed.
    """
    if not RACKS.is_dir():
        raise FileNotFoundError("This section needs the real photos of ../shared/data/racks, which are not here")
    case = load_use_case(RACKS_USE_CASE)
    case = case.model_copy(update={"split": case.split.model_copy(update={"seed": split_seed})})
    return prepare(home, case, RACKS / "landing", RACKS / "labels", days=days, label_files=labels)


def prepare(
    home: Path,
    case: UseCase,
    landing: Path,
    labels: Path,
    *,
    days: Sequence[str] | None = None,
    label_files: Sequence[str] | None = None,
) -> Labelled:
    """Ingest the days of a landing zone, import a label drop and build the dataset; arguments as of `prepare_racks`.

    Raises:
        RuntimeError: A run failed.
    """
    settings = Settings(home=home)
    places = settings.places(case.name)
    _copy(landing, Path(places.landing), days)
    _copy(labels, Path(places.labels), label_files)
    definitions = build_defs(settings, case)
    with dg.DagsterInstance.ephemeral() as instance:
        for day in sorted(path.name for path in Path(places.landing).iterdir()):
            _run(definitions, INGEST_DAY, instance, day)
        _run(definitions, IMPORT_LABELS, instance)
        _build_dataset(definitions, case, instance)
    tables = Tables(root=places.store)
    dataset = tables.read("training_dataset", SCHEMAS["training_dataset"])
    classes = tables.read("equipment_classes", SCHEMAS["equipment_classes"])
    return Labelled(
        case, dataset, active_class_map(classes), PhotoStore(landing=places.landing, root=places.store).read_photo
    )


def _copy(source: Path, target: Path, names: Sequence[str] | None) -> None:
    target.mkdir(parents=True)
    for name in sorted(path.name for path in source.iterdir()) if names is None else names:
        place = source / name
        if place.is_dir():
            shutil.copytree(place, target / name)
        else:
            shutil.copyfile(place, target / name)


def _run(definitions: dg.Definitions, job: str, instance: dg.DagsterInstance, day: str | None = None) -> None:
    result = definitions.resolve_job_def(job).execute_in_process(instance=instance, partition_key=day)
    if not result.success:
        raise RuntimeError(f"{job} {day or ''} failed")


def _build_dataset(definitions: dg.Definitions, case: UseCase, instance: dg.DagsterInstance) -> None:
    keys = [dg.AssetKey([case.name, name]) for name in ("split_assignments", "training_dataset")]
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(keys))
    job.execute_in_process(instance=instance)
