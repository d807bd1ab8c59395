"""What the table of decisions says: who served when and why, what a rollback goes back to, whose word stands.

Pure, on rows of CHAMPION_DETECTOR. How a decision comes about belongs in `deciding.py`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mlops_assets.detector.schema import CHAMPION_HISTORY

JUDGED = "judged"
PROMOTED_BY_HAND = "promoted_by_hand"
REFUSED_BY_HAND = "refused_by_hand"
ROLLED_BACK = "rolled_back"
MOVED_OUTSIDE = "moved_outside"
"""What a decision was: by the rules, by a person, or a move of the alias that decides on no candidate."""

MOVES = frozenset({ROLLED_BACK, MOVED_OUTSIDE})
FORCED = frozenset({PROMOTED_BY_HAND, REFUSED_BY_HAND, ROLLED_BACK, MOVED_OUTSIDE})

UNMEASURED = frozenset({"by hand", "files"})
"""What a candidate is refused for without a look at its figures: a person's word, and files that cannot be used."""

FIGURES = ("test_map50", "test_map50_95", "test_precision", "test_recall")
"""Tags of a model version that the history shows, as `judging.Judged.figures` names them."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Term:
    """One time of serving: the row that began it, and the one that ended it, None while it lasts."""

    version: str
    began: Row
    ended: Row | None


def kind_of(row: Row) -> str:
    """What a decision was; rows of before kinds were recorded were all judged."""
    return str(row["kind"] or JUDGED)


def failed_criteria(reasons: Sequence[str]) -> list[str]:
    """Letters or names of the criteria that failed, from the sentences of a decision."""
    found = (re.match(r"\(([^)]+)\) failed", reason) for reason in reasons)
    return [match.group(1) for match in found if match]


def terms(decisions: pl.DataFrame) -> list[Term]:
    """Every time of serving, in order."""
    found: list[Term] = []
    for row in decisions.iter_rows(named=True):
        serving = row["champion_version"]
        last = found[-1] if found and found[-1].ended is None else None
        if serving == (last.version if last else None):
            continue
        if last:
            found[-1] = Term(last.version, last.began, row)
        if serving is not None:
            found.append(Term(serving, row, None))
    return found


def previous_champion(decisions: pl.DataFrame) -> str | None:
    """What a rollback goes back to: the champion before the one that serves, left-behind ones not counted.

    A rollback (or a move of the alias outside Dagster) to an earlier champion forgets those that came after it: a
    second rollback goes further back, not forward again.
    """
    line: list[str] = []
    for term in terms(decisions):
        if kind_of(term.began) in MOVES and term.version in line:
            del line[line.index(term.version) :]
        line = [version for version in line if version != term.version]
        line.append(term.version)
    serving = decisions.item(-1, "champion_version") if decisions.height else None
    return line[-2] if serving is not None and len(line) > 1 else None


def has_served(decisions: pl.DataFrame, version: str) -> bool:
    """Whether a version was ever the champion."""
    return version in decisions["champion_version"].drop_nulls().to_list()


def last_judgement(decisions: pl.DataFrame, version: str) -> list[str] | None:
    """The reasons of the last decision for which a version was measured as a candidate; None where there was none."""
    for row in reversed(decisions.rows(named=True)):
        if row["model_version"] != version or kind_of(row) in MOVES:
            continue
        if not UNMEASURED & set(failed_criteria(row["reasons"])):
            return [reason for reason in row["reasons"] if not reason.startswith("overridden by")]
    return None


def word_against(decisions: pl.DataFrame, version: str) -> str | None:
    """What a person did against a version, in words, unless it was promoted by hand or came back to serve since."""
    word = None
    serving = None
    for row in decisions.iter_rows(named=True):
        kind = kind_of(row)
        if kind in FORCED and serving == version and row["champion_version"] != version:
            word = f"{_sentence(row)} ({row['decided_at']:%Y-%m-%d})" if row["decided_at"] else _sentence(row)
        elif row["model_version"] == version and kind == REFUSED_BY_HAND:
            word = f"version {version} was refused by {row['decided_by']} because {row['why']}"
        elif row["champion_version"] == version:
            word = None
        serving = row["champion_version"]
    return word


def _sentence(row: Row) -> str:
    return str(row["reasons"][-1]) if row["reasons"] else f"version {row['champion_version']} was set as champion"


def champion_history(decisions: pl.DataFrame, tags: Mapping[str, Mapping[str, str]]) -> pl.DataFrame:
    """CHAMPION_HISTORY, the latest first.

    Args:
        decisions: CHAMPION_DETECTOR.
        tags: Of the model versions that the registry still has, by version.
    """
    rows = [_history_row(term, tags.get(term.version, {})) for term in reversed(terms(decisions))]
    return pl.DataFrame(rows, schema=CHAMPION_HISTORY)


def _history_row(term: Term, tags: Mapping[str, str]) -> dict[str, Any]:
    began, ended = term.began, term.ended
    return {
        "version": term.version,
        "served_from": began["decided_at"],
        "served_until": ended["decided_at"] if ended else None,
        "because": "; ".join(_short_reasons(began)),
        "ended_because": "; ".join(_short_reasons(ended)) if ended else None,
        "forced": kind_of(began) in FORCED,
        "decided_by": began["decided_by"],
        "run_id": began["run_id"],
        "dataset_fingerprint": tags.get("dataset_fingerprint"),
        **{name: float(tags[name]) if name in tags else None for name in FIGURES},
    }


def _short_reasons(row: Row) -> Iterator[str]:
    """One sentence a decision: what a person said, or which version passed."""
    kind = kind_of(row)
    if kind == JUDGED:
        yield f"version {row['champion_version']} passed every criterion"
    else:
        yield str(row["reasons"][-1])
