"""What a retraining did to the classes that the champion knew before, apart from those that are new.

It says what happened; whether a candidate serves is decided in `promotion.py`, with the uncertainty of the figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from mlops_assets.detector.schema import OLD_CLASS_CHANGE


@dataclass(frozen=True)
class OldClassChange:
    """Candidate and champion, class by class, on one test snapshot.

    Attributes:
        table: OLD_CLASS_CHANGE; empty where there is no champion.
    """

    table: pl.DataFrame

    @property
    def macro(self) -> float | None:
        """Mean change of AP50 over old classes with test boxes; None without any."""
        return _number(self._old["change"].mean())

    @property
    def new_macro(self) -> float | None:
        """Mean AP50 of new classes with test boxes; None without any."""
        new = self.table.filter(~pl.col("old"), pl.col("candidate_ap50").is_not_null())
        return _number(new["candidate_ap50"].mean())

    @property
    def worst(self) -> tuple[int, float] | None:
        """The old class that fell most, or rose least, and by how much; None without any."""
        if self._old.is_empty():
            return None
        class_id, change = self._old.sort("change", "class_id").select("class_id", "change").row(0)
        return class_id, change

    @property
    def _old(self) -> pl.DataFrame:
        return self.table.filter(pl.col("old"), pl.col("change").is_not_null())

    def figures(self) -> dict[str, float]:
        """For MLflow and the UI; what could not be measured is left out."""
        found = {
            "old_classes_ap50_change": self.macro,
            "worst_old_class_ap50_change": self.worst[1] if self.worst else None,
            "new_classes_ap50": self.new_macro,
        }
        return {name: value for name, value in found.items() if value is not None}

    def sentence(self, names: Mapping[int, str]) -> str:
        """What happened to the old classes, in words."""
        if self.table.is_empty():
            return "No champion to compare with"
        if self.macro is None or self.worst is None:
            return "No class that the champion knows has a test box"
        class_id, change = self.worst
        return (
            f"Macro AP50 of {self._old.height} classes that the champion knows: {self.macro:+.3f}; "
            f"the worst is {names.get(class_id, class_id)}: {change:+.3f}"
        )

    def markdown(self, names: Mapping[int, str]) -> str:
        """The sentence, and a row a class, the most fallen first, new classes last."""
        lines = [self.sentence(names)]
        if self.table.height:
            lines += [
                "",
                "| class | AP50 before | after | change | test boxes |",
                "| --- | ---: | ---: | ---: | ---: |",
            ]
        rows = self.table.sort(pl.col("old").not_(), "change", "class_id", nulls_last=True)
        for row in rows.iter_rows(named=True):
            name = names.get(row["class_id"], row["class_id"])
            before, after, change = (_cell(row[key]) for key in ("champion_ap50", "candidate_ap50", "change"))
            lines.append(f"| {name} | {before if row['old'] else 'new'} | {after} | {change} | {row['n']} |")
        return "\n".join(lines)


def old_class_change(evaluation: pl.DataFrame, candidate: str) -> OldClassChange:
    """Take what changed off the evaluation of both models on one test snapshot.

    An old class is one that the champion knows, under the class that it counts for where it was merged. One that the
    candidate does not know counts as never found, as in `comparison.compare`.

    Args:
        evaluation: DETECTOR_EVALUATION of the candidate and, if there is one, of the champion.
        candidate: Its model version; the other one is the champion's.

    Raises:
        ValueError: The evaluation holds more than two models.
    """
    on_test = evaluation.filter(pl.col("split") == "test", pl.col("class_id").is_not_null())
    others = sorted(set(on_test["model_version"]) - {candidate})
    if len(others) > 1:
        raise ValueError(f"The evaluation holds versions {', '.join(others)} beside the candidate {candidate}")
    if not others:
        return OldClassChange(OLD_CLASS_CHANGE.to_frame())
    after = on_test.filter(pl.col("model_version") == candidate)
    before = on_test.filter(pl.col("model_version") == others[0])
    both = before.select("class_id", "n", champion_ap50="ap50", old=True).join(
        after.select("class_id", "n", candidate_ap50="ap50"), on="class_id", how="full", coalesce=True
    )
    never_found = pl.col("old") & pl.col("champion_ap50").is_not_null()
    return OldClassChange(
        both.with_columns(
            model_version=pl.lit(candidate),
            champion_version=pl.lit(others[0]),
            old=pl.col("old").fill_null(False),
            n=pl.coalesce("n", "n_right"),
            candidate_ap50=pl.when(never_found)
            .then(pl.col("candidate_ap50").fill_null(0.0))
            .otherwise("candidate_ap50"),
        )
        .with_columns(change=pl.col("candidate_ap50") - pl.col("champion_ap50"))
        .sort("class_id")
        .select(OLD_CLASS_CHANGE.names())
        .match_to_schema(OLD_CLASS_CHANGE)
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float) else None


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
