"""Datasets before and after two classes are added: racks of ../shared/data, and photos that the demo renders.

Both go through the project's own assets once; each seed then splits the enclosures anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.real_photos import RACKS_USE_CASE, prepare, prepare_racks
from demo.render.run import render_demo
from mlops_assets.boxes import BOX_COLUMNS
from mlops_assets.dataset.building import build_dataset
from mlops_assets.dataset.shots import with_shots
from mlops_assets.dataset.splits import assign_splits, enclosure_class_counts, near_duplicate_enclosures
from mlops_assets.dataset.versions import active_class_map
from mlops_assets.photos.lookup import photos_of_visits
from mlops_assets.photos.schema import CLEAN_PHOTOS, RAW_PHOTOS
from mlops_assets.tables import SCHEMAS
from mlops_assets.use_case import UseCase, load_use_case
from resources.photo_store import PhotoStore
from resources.settings import PROJECT, Settings
from resources.tables import Tables

DEMO_ENCLOSURES = 32
DEMO_HELD_OUT = ("surge_protector",)
"""Beside the class that the demo's last day brings: its labels come with that day too, for all photos."""


@dataclass(frozen=True)
class Taken:
    """Photos and labels of all days, in the tables of a home."""

    name: str
    case: UseCase
    home: Path
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """A champion's dataset, and that of the training that adds classes to it.

    Attributes:
        before: TRAINING_DATASET of all days but the last, without the new classes.
        after: TRAINING_DATASET of all days; its test set is what every model is measured on.
        old: Display names of the classes of `before`.
        new: Display names of the classes added.
        read_photo: Bytes of a normalised photo.
    """

    before: pl.DataFrame
    after: pl.DataFrame
    old: dict[int, str]
    new: dict[int, str]
    read_photo: Callable[[str], bytes]

    @property
    def new_photos(self) -> pl.DataFrame:
        """Of the train photos those that show a new class, with all their boxes; val and test as in `after`."""
        shown = self.after.filter(pl.col("class_id").is_in(list(self.new)))["photo_id"].unique()
        return self.after.filter((pl.col("split") != "train") | pl.col("photo_id").is_in(shown.implode()))

    @property
    def new_labels(self) -> pl.DataFrame:
        """The photos of `new_photos` with the boxes of new classes only, in val too."""
        hidden = (pl.col("split") != "test") & ~pl.col("class_id").is_in(list(self.new))
        blank = [pl.when(~hidden).then(pl.col(name)).alias(name) for name in ("class_id", *BOX_COLUMNS)]
        rows = self.new_photos.with_columns(blank)
        boxed = rows.filter(pl.col("class_id").is_not_null())
        return pl.concat([boxed, rows.join(boxed, on="photo_id", how="anti").unique("photo_id")])


def take_racks(folder: Path) -> Taken:
    """Take the racks photos in, unless an earlier run did."""
    home = folder / "racks"
    _once(home, lambda place: prepare_racks(place, split_seed=0))
    return Taken("racks", load_use_case(RACKS_USE_CASE), home, ())


def take_demo(folder: Path) -> Taken:
    """Render a small demo and take it in, unless an earlier run did."""
    rendered, home = folder / "rendered", folder / "demo"
    case = load_use_case(PROJECT / "use_cases" / "enclosures.yaml")

    def make(place: Path) -> None:
        render_demo(rendered, enclosures=DEMO_ENCLOSURES, workers=1)
        prepare(place, case, rendered / "landing", rendered / "labels")

    _once(home, make)
    return Taken("demo", case, home, DEMO_HELD_OUT)


def _once(home: Path, make: Callable[[Path], object]) -> None:
    if not home.is_dir():
        partial = home.with_name(f"{home.name}.part")
        make(partial)
        partial.rename(home)


def story(taken: Taken, seed: int) -> Story:
    """Split the enclosures by a seed, and build the datasets before and after by the project's own rules.

    Raises:
        ValueError: It is not two classes that are added.
    """
    places = Settings(home=taken.home).places(taken.case.name)
    tables = Tables(root=places.store)
    annotations = tables.read("annotations", SCHEMAS["annotations"])
    classes = tables.read("equipment_classes", SCHEMAS["equipment_classes"])
    every = photos_of_visits(_days(tables, "raw_photos", RAW_PHOTOS), _days(tables, "clean_photos", CLEAN_PHOTOS))
    rules = taken.case.split.model_copy(update={"seed": seed})
    previous = pl.DataFrame(schema=SCHEMAS["split_assignments"])
    pairs = near_duplicate_enclosures(every, every)
    splits = assign_splits(enclosure_class_counts(annotations, every), pairs, previous, rules)
    photos = with_shots(every).filter(pl.col("usable"))
    labelled = annotations.join(photos, on="photo_id", how="semi")
    last = photos.filter(pl.col("visited_on") == photos["visited_on"].max())
    earlier = labelled.join(last, on="photo_id", how="anti")
    names = active_class_map(classes)
    new = {
        class_id: name
        for class_id, name in names.items()
        if name in taken.held_out or class_id not in set(earlier["class_id"])
    }
    if len(new) != 2:
        raise ValueError(f"{taken.name} adds {sorted(new.values())}, where two classes were meant")
    hidden = pl.when(pl.col("class_id").is_in(list(new))).then(pl.lit("deprecated")).otherwise(pl.col("status"))
    before = build_dataset(earlier, photos, classes.with_columns(status=hidden), splits)
    after = build_dataset(labelled, photos, classes, splits)
    old = {class_id: name for class_id, name in names.items() if class_id not in new}
    store = PhotoStore(landing=places.landing, root=places.store)
    return Story(before, after, old, new, store.read_photo)


def _days(tables: Tables, name: str, schema: pl.Schema) -> dict[str, pl.DataFrame]:
    return {day: tables.read(name, schema, day) for table, day in tables.files() if table == name and day is not None}


def photos_by_split(dataset: pl.DataFrame) -> str:
    """Photos and enclosures by split, in words."""
    parts: Sequence[str] = [
        f"{split} {rows['photo_id'].n_unique()} photos of {rows['enclosure_id'].n_unique()} enclosures"
        for (split,), rows in sorted(dataset.group_by("split"))
    ]
    return ", ".join(parts)
