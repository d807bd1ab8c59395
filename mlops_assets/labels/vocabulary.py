"""Class ids: which name has which id (append only, never reused), and the state of each class.

Names are compared folded: Unicode NFC, case, white space, underscores and hyphens make no difference. The name shown
is the one written first.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import polars as pl

from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from mlops_assets.use_case import KnownClass, NewClassRules

KNOWN_CLASSES = pl.Schema({"class_id": pl.Int32(), "class_name": pl.String(), "aliases": pl.List(pl.String())})
"""The part of EQUIPMENT_CLASSES that decides ids."""

_SEPARATORS = re.compile(r"[\s_\-]+")


class VocabularyError(ValueError):
    """Known or declared classes contradict each other."""


def fold_name(name: str) -> str:
    """Form of a class name that is compared."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return _SEPARATORS.sub(" ", folded).strip()


@dataclass(slots=True)
class Vocabulary:
    """Growing map from names to ids; ids are 0, 1, 2 … in the order in which names come.

    Attributes:
        names: Display name by id.
        aliases: Further names by id, as written.
    """

    names: dict[int, str] = field(default_factory=dict)
    aliases: dict[int, list[str]] = field(default_factory=dict)
    _ids: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, known: pl.DataFrame, declared: Sequence[KnownClass], annotations: pl.DataFrame | None = None
    ) -> "Vocabulary":
        """Known classes keep their ids, and so do those that only annotations hold yet.

        Declared classes that are new get the next free ids after the known ones, in their order. A declared class that
        is known under its name or an alias adds its other names as aliases of that id. A name that is already another
        class's stays with that one.

        Args:
            known: KNOWN_CLASSES or more columns; may be empty.
            declared: The use case's `classes`.
            annotations: ANNOTATIONS, which may be ahead of the class table.

        Raises:
            VocabularyError: An id twice, or two declared classes that share a name or alias.
        """
        _check_declared(declared)
        vocabulary = cls()
        known = known.select(KNOWN_CLASSES.names()).sort("class_id")
        for class_id, name, _ in known.iter_rows():
            vocabulary._name(class_id, name)
        free = vocabulary.size
        for class_id, name in _labelled_ahead(known, annotations):
            vocabulary._name(class_id, name)
        # Names go before aliases: a class's own name never resolves to another class.
        for class_id, _, aliases in known.iter_rows():
            vocabulary._add_aliases(class_id, aliases or ())
        for entry in declared:
            found = (vocabulary.find(name) for name in (entry.name, *entry.aliases))
            class_id = next((found_id for found_id in found if found_id is not None), None)
            if class_id is None:
                # The annotations' ids were given after these declared ones had theirs: gaps are where those belong.
                class_id = next(number for number in count(free) if number not in vocabulary.names)
                vocabulary._name(class_id, entry.name)
            vocabulary._add_aliases(class_id, (entry.name, *entry.aliases))
        return vocabulary

    @property
    def size(self) -> int:
        """Number of ids given so far: the next id, and the class_map_version of what is labelled now."""
        return max(self.names, default=-1) + 1

    def find(self, name: str) -> int | None:
        """Id of a name, or None."""
        return self._ids.get(fold_name(name))

    def learn(self, name: str) -> int:
        """Id of a name; a new name gets the next."""
        class_id = self.find(name)
        if class_id is None:
            class_id = self.size
            self._name(class_id, name)
        return class_id

    def table(self) -> pl.DataFrame:
        """KNOWN_CLASSES, sorted by id."""
        ids = sorted(self.names)
        columns = {
            "class_id": ids,
            "class_name": [self.names[class_id] for class_id in ids],
            "aliases": [self.aliases[class_id] for class_id in ids],
        }
        return pl.DataFrame(columns, schema=KNOWN_CLASSES)

    def _name(self, class_id: int, name: str) -> None:
        if class_id in self.names:
            raise VocabularyError(f"class id {class_id} is there twice: {self.names[class_id]!r} and {name!r}")
        self.names[class_id] = name
        self.aliases[class_id] = []
        self._ids.setdefault(fold_name(name), class_id)

    def _add_aliases(self, class_id: int, aliases: Iterable[str]) -> None:
        for alias in aliases:
            if self._ids.setdefault(fold_name(alias), class_id) != class_id:
                continue
            written = [self.names[class_id], *self.aliases[class_id]]
            if fold_name(alias) not in map(fold_name, written):
                self.aliases[class_id].append(alias)


def assign_ids(names_in_order: Iterable[str], known: pl.DataFrame, declared: Sequence[KnownClass]) -> pl.DataFrame:
    """Give every name an id: known classes keep theirs, then declared, then new names in their order.

    Returns:
        KNOWN_CLASSES with a row an id.
    """
    vocabulary = Vocabulary.of(known, declared)
    for name in names_in_order:
        vocabulary.learn(name)
    return vocabulary.table()


def equipment_classes(
    annotations: pl.DataFrame,
    photos: pl.DataFrame,
    previous: pl.DataFrame,
    declared: Sequence[KnownClass],
    rules: NewClassRules,
) -> pl.DataFrame:
    """Every class ever seen with its counts and status.

    A class is proposed until it has `min_boxes` in `min_enclosures`, then active; it never falls back by itself, and
    deprecated or merged ones stay so. Every previous row is kept, with its id.

    Args:
        annotations: ANNOTATIONS.
        photos: photo_id, enclosure_id; the first row of a photo_id counts.
        previous: EQUIPMENT_CLASSES as last written; may be empty.
        declared: The use case's `classes`.
        rules: When a class becomes active.

    Returns:
        EQUIPMENT_CLASSES, sorted by class_id.
    """
    known = Vocabulary.of(previous, declared, annotations).table()
    homes = photos.select("photo_id", "enclosure_id").unique("photo_id", keep="first", maintain_order=True)
    counted = (
        annotations.drop_nulls("class_id")
        .join(homes, on="photo_id", how="left")
        .group_by("class_id")
        .agg(
            pl.len().cast(pl.Int64).alias("boxes"),
            pl.col("enclosure_id").drop_nulls().n_unique().cast(pl.Int64).alias("enclosures"),
            pl.col("annotated_at").min().alias("labelled_now"),
        )
    )
    kept = previous.select("class_id", "status", "merged_into", "first_labelled")
    is_enough = (pl.col("boxes") >= rules.min_boxes) & (pl.col("enclosures") >= rules.min_enclosures)
    is_settled = pl.col("status").is_in(["active", "deprecated", "merged"])
    return (
        known.join(counted, on="class_id", how="left")
        .join(kept, on="class_id", how="left")
        .with_columns(pl.col("boxes", "enclosures").fill_null(0))
        .with_columns(
            pl.when(is_settled.fill_null(value=False))
            .then("status")
            .when(is_enough)
            .then(pl.lit("active"))
            .otherwise(pl.lit("proposed"))
            .alias("status"),
            pl.min_horizontal("first_labelled", "labelled_now").alias("first_labelled"),
        )
        .select(EQUIPMENT_CLASSES.names())
        .sort("class_id")
        .match_to_schema(EQUIPMENT_CLASSES)
    )


def _labelled_ahead(known: pl.DataFrame, annotations: pl.DataFrame | None) -> list[tuple[int, str]]:
    """Ids that annotations hold and the class table does not yet, under the name that was labelled first."""
    if annotations is None:
        return []
    ahead = annotations.drop_nulls("class_id").join(known, on="class_id", how="anti")
    first = ahead.sort("annotated_at", "photo_id", "class_name").unique("class_id", keep="first")
    return list(first.sort("class_id").select("class_id", "class_name").iter_rows())


def _check_declared(declared: Sequence[KnownClass]) -> None:
    owners: dict[str, str] = {}
    for entry in declared:
        for name in {fold_name(text) for text in (entry.name, *entry.aliases)}:
            if name in owners:
                raise VocabularyError(
                    f"the use case's classes {owners[name]!r} and {entry.name!r} share the name {name!r}; "
                    "take it from one of them"
                )
            owners[name] = entry.name
