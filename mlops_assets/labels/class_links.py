"""Merged classes in tables whose rows were written under an id of their own: labels, detections, a champion's classes.

Rows keep the id that they were written with; whoever counts or trains resolves them here, so that undoing a merge needs
nothing to be written again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

_PARTS = ("merged_into", "known_since")


@dataclass(frozen=True)
class ClassLinks:
    """Which class an id counts for, and since when a class is known.

    Attributes:
        merged_into: The class that each merged one counts for; others are missing.
        known_since: Lowest id among a class and those merged into it, where that is not its own.
    """

    merged_into: Mapping[int, int] = field(default_factory=dict)
    known_since: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, classes: pl.DataFrame) -> "ClassLinks":
        """Read the links off EQUIPMENT_CLASSES."""
        merged = classes.filter(pl.col("status") == "merged", pl.col("merged_into").is_not_null())
        earlier = classes.filter(pl.col("known_since") < pl.col("class_id"))
        return cls(
            dict(merged.select("class_id", "merged_into").iter_rows()),
            dict(earlier.select("class_id", "known_since").iter_rows()),
        )

    @classmethod
    def parse(cls, manifest: Mapping[str, Any]) -> "ClassLinks":
        """Read the links off a dataset's manifest, which has none where nothing was merged."""
        found = manifest.get("class_links", {})
        return cls(*({int(k): int(v) for k, v in found.get(part, {}).items()} for part in _PARTS))

    def as_json(self) -> dict[str, dict[str, int]]:
        """What `parse` reads, for the key class_links of a manifest."""
        return {part: {str(k): v for k, v in sorted(getattr(self, part).items())} for part in _PARTS}

    def resolve(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with a class_id, under the class that each counts for."""
        return rows.with_columns(pl.col("class_id").replace(self.merged_into)) if self.merged_into else rows

    def target(self, class_id: int) -> int:
        """The class that one counts for."""
        return self.merged_into.get(class_id, class_id)

    def since(self, class_id: pl.Expr) -> pl.Expr:
        """The class_map_version up to which a class was not looked for: a photo's must be larger."""
        return class_id.replace(self.known_since)


NO_LINKS = ClassLinks()
"""No class was merged."""
