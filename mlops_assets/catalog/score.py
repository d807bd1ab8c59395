"""How far the catalogue agrees with the true contents of enclosures (DESIGN §3 "Catalogue score").

For truth that was counted by people or rendered by the demo; the detector's own measures (AP, recall) are elsewhere.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from mlops_assets.catalog.catalog import quantity_changes
from mlops_assets.catalog.inventory import CONFIRMED, REMOVED, UNCONFIRMED, in_visit_order

BOOTSTRAP_SAMPLES = 1000
BOOTSTRAP_SEED = 0
INTERVAL = (2.5, 97.5)
"""Percentiles of the bootstrap, a two-sided 95 % interval."""

_KEY = ("enclosure_id", "day", "class")


class ScoreInputError(ValueError):
    """Truth and inventory cannot be compared; the message says why."""


@dataclass(frozen=True)
class Agreement:
    """Counts of right, excess and missed items; a rate whose denominator is 0 is None."""

    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None

    @classmethod
    def of(cls, true_positives: int, false_positives: int, false_negatives: int) -> "Agreement":
        """Work out the rates: precision TP/(TP+FP), recall TP/(TP+FN), F1 2TP/(2TP+FP+FN)."""

        def rate(part: int, whole: int) -> float | None:
            return part / whole if whole else None

        return cls(
            true_positives=true_positives,
            false_positives=false_positives,
            false_negatives=false_negatives,
            precision=rate(true_positives, true_positives + false_positives),
            recall=rate(true_positives, true_positives + false_negatives),
            f1=rate(2 * true_positives, 2 * true_positives + false_positives + false_negatives),
        )


@dataclass(frozen=True)
class GroupScore:
    """The score of one group of enclosures.

    `quantity` is micro, over items; f1_low to f1_high is its 95 % interval by bootstrap over enclosures; macro_f1 is
    the mean over the classes that are in the truth or the prediction. quantity_error is the mean absolute difference in
    items over the keys that both have, quantity_exact the share of these without any. Unconfirmed items are not in
    `quantity` (a true one there counts as missed); unconfirmed_true of them were really there.
    """

    enclosures: int
    visits: int
    quantity: Agreement
    f1_low: float | None
    f1_high: float | None
    macro_f1: float | None
    by_class: dict[str, Agreement]
    quantity_error: float | None
    quantity_exact: float | None
    changes: Agreement
    unconfirmed_items: int
    unconfirmed_true: int


@dataclass(frozen=True)
class InvisibleItem:
    """True equipment that no photo of the visit shows, so no reading of photos could find it."""

    enclosure_id: str
    day: str
    class_name: str
    quantity: int


@dataclass(frozen=True)
class CatalogueScore:
    """The score of all enclosures and of those that no model was trained on (None: not known which)."""

    all_enclosures: GroupScore
    never_trained: GroupScore | None
    invisible: tuple[InvisibleItem, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """Give nested plain values, ready for JSON."""
        return asdict(self)


def score(
    inventory: pl.DataFrame,
    truth: pl.DataFrame,
    visible: pl.DataFrame | None,
    class_names: Mapping[int, str],
    *,
    never_trained: Collection[str] | None = None,
) -> CatalogueScore:
    """Compare the inventory with the truth, item by item and change by change.

    The key is (enclosure, day, class): a visit counts on its day, and of several visits on a day the last settled row
    of a class does. TP is the sum of min(predicted, true), FP and FN the excess. Judged are the truth's enclosures on
    the truth's days; a judged day without truth rows is taken as an empty enclosure. Only confirmed rows are
    predictions. Items that no photo shows are listed in `invisible`; they stay missed in the counts.

    Args:
        inventory: VISIT_INVENTORY, in visit order.
        truth: day (Date or ISO text), enclosure_id, class (name), quantity.
        visible: Truth boxes, one row a box: day, enclosure_id, class; None if not known.
        class_names: Display name by class_id, as the truth writes them.
        never_trained: Enclosures that no training photo is of.

    Raises:
        ScoreInputError: A column is missing, the truth is empty or names an item twice, or a class_id has no name.
    """
    true_items = _truth(truth)
    predicted = _predicted(inventory, class_names).join(true_items.select("enclosure_id").unique(), on="enclosure_id")
    predicted = predicted.join(true_items.select("day").unique(), on="day")
    invisible = None if visible is None else _invisible(true_items, visible)
    held_out = None
    if never_trained is not None:
        kept = pl.col("enclosure_id").is_in(list(never_trained))
        held_out = _group_score(predicted.filter(kept), true_items.filter(kept))
    return CatalogueScore(_group_score(predicted, true_items), held_out, invisible)


def _truth(truth: pl.DataFrame) -> pl.DataFrame:
    if truth.is_empty():
        raise ScoreInputError("The truth has no rows: nothing to score against")
    items = _by_day(truth, "truth", "quantity").with_columns(pl.col("quantity").cast(pl.Int64))
    twice = items.filter(pl.struct(_KEY).is_duplicated())
    if len(twice):
        raise ScoreInputError(f"The truth names an item twice: {twice.row(0, named=True)}")
    return items


def _by_day(frame: pl.DataFrame, name: str, *more: str) -> pl.DataFrame:
    columns = [*_KEY, *more]
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ScoreInputError(f"{name} lacks the columns {missing}; it has {frame.columns}")
    day = pl.col("day").str.to_date("%Y-%m-%d") if frame.schema["day"] == pl.String else pl.col("day")
    return frame.select(columns).with_columns(day)


def _predicted(inventory: pl.DataFrame, class_names: Mapping[int, str]) -> pl.DataFrame:
    """One row an item and day: the day's last settled row, or its last unconfirmed one."""
    nameless = sorted(set(inventory["class_id"].unique()) - set(class_names))
    if nameless:
        raise ScoreInputError(f"class_names has no name for class ids {nameless}: pass the names of equipment_classes")
    names = pl.DataFrame(
        {"class_id": list(class_names), "class": list(class_names.values())},
        schema={"class_id": pl.Int32, "class": pl.String},
    )
    settled = pl.col("status") != UNCONFIRMED
    return (
        in_visit_order(inventory)
        .join(names, on="class_id", how="left", maintain_order="left")
        .select("enclosure_id", pl.col("visited_on").alias("day"), "class", "quantity", "status")
        .sort(settled, maintain_order=True)
        .group_by(_KEY, maintain_order=True)
        .last()
        .with_columns(pl.col("quantity").cast(pl.Int64))
    )


def _group_score(predicted: pl.DataFrame, truth: pl.DataFrame) -> GroupScore:
    keys = _matched(predicted, truth)
    both = keys.filter((pl.col("predicted") > 0) & (pl.col("true") > 0))
    difference = (both["predicted"] - both["true"]).abs()
    by_class = {
        name: Agreement.of(*counts)
        for name, *counts in keys.group_by("class").agg(pl.col("tp", "fp", "fn").sum()).sort("class").iter_rows()
        if sum(counts)
    }
    rates = [agreement.f1 for agreement in by_class.values() if agreement.f1 is not None]
    low, high = _interval(keys)
    return GroupScore(
        enclosures=keys["enclosure_id"].n_unique(),
        visits=keys.select("enclosure_id", "day").n_unique(),
        quantity=Agreement.of(*(int(keys[column].sum()) for column in ("tp", "fp", "fn"))),
        f1_low=low,
        f1_high=high,
        macro_f1=float(np.mean(rates)) if rates else None,
        by_class=by_class,
        quantity_error=float(np.mean(difference.to_numpy())) if len(both) else None,
        quantity_exact=float(np.mean(difference.to_numpy() == 0)) if len(both) else None,
        changes=_change_score(predicted, truth),
        unconfirmed_items=int(keys["unconfirmed"].sum()),
        unconfirmed_true=int(keys.select(pl.min_horizontal("unconfirmed", "true").sum()).item()),
    )


def _matched(predicted: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """One row a key of either side, with quantities and what agrees."""
    quantity, status = pl.col("quantity"), pl.col("status")
    claims = predicted.select(
        *_KEY,
        pl.when(status == CONFIRMED).then(quantity).otherwise(0).alias("predicted"),
        pl.when(status == UNCONFIRMED).then(quantity).otherwise(0).alias("unconfirmed"),
    )
    return (
        truth.rename({"quantity": "true"})
        .join(claims, on=_KEY, how="full", coalesce=True)
        .with_columns(pl.col("true", "predicted", "unconfirmed").fill_null(0))
        .with_columns(
            tp=pl.min_horizontal("predicted", "true"),
            fp=(pl.col("predicted") - pl.col("true")).clip(lower_bound=0),
            fn=(pl.col("true") - pl.col("predicted")).clip(lower_bound=0),
        )
    )


def _interval(keys: pl.DataFrame) -> tuple[float | None, float | None]:
    """Percentile interval of the micro F1, resampling whole enclosures with replacement (Efron 1979)."""
    sums = keys.group_by("enclosure_id").agg(pl.col("tp", "fp", "fn").sum()).sort("enclosure_id")
    counts = sums.select("tp", "fp", "fn").to_numpy()
    if not len(counts) or not counts.sum():
        return None, None
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    evenly = np.full(len(counts), 1 / len(counts))
    drawn = np.stack([rng.multinomial(len(counts), evenly) @ counts for _ in range(BOOTSTRAP_SAMPLES)])
    denominator = 2 * drawn[:, 0] + drawn[:, 1] + drawn[:, 2]
    f1 = 2 * drawn[denominator > 0, 0] / denominator[denominator > 0]
    low, high = np.percentile(f1, INTERVAL)
    return float(low), float(high)


def _change_score(predicted: pl.DataFrame, truth: pl.DataFrame) -> Agreement:
    found = _changes(predicted)
    real = _changes(_every_day(predicted, truth))
    right = len(found.join(real, on=found.columns))
    return Agreement.of(right, len(found) - right, len(real) - right)


def _every_day(predicted: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Spell the truth out: each item of an enclosure on each of its days, with quantity 0 where it is absent."""
    days = pl.concat([frame.select("enclosure_id", "day") for frame in (truth, predicted)]).unique()
    items = truth.select("enclosure_id", "class").unique()
    quantity = pl.col("quantity").fill_null(0)
    return (
        days.join(items, on="enclosure_id")
        .join(truth, on=_KEY, how="left")
        .with_columns(
            quantity, pl.when(quantity > 0).then(pl.lit(CONFIRMED)).otherwise(pl.lit(REMOVED)).alias("status")
        )
    )


def _changes(items: pl.DataFrame) -> pl.DataFrame:
    rows = items.select(
        "enclosure_id",
        pl.col("day").dt.to_string("iso").alias("visit_id"),
        pl.col("day").alias("visited_on"),
        pl.col("class").alias("class_id"),
        "quantity",
        "status",
    )
    return quantity_changes(rows).select("enclosure_id", "class_id", "visit_id", "from", "to")


def _invisible(truth: pl.DataFrame, visible: pl.DataFrame) -> tuple[InvisibleItem, ...]:
    shown = _by_day(visible, "visible").unique()
    hidden = truth.filter(pl.col("quantity") > 0).join(shown, on=_KEY, how="anti").sort(_KEY)
    return tuple(
        InvisibleItem(enclosure_id=enclosure, day=str(day), class_name=name, quantity=quantity)
        for enclosure, day, name, quantity in hidden.select(*_KEY, "quantity").iter_rows()
    )
