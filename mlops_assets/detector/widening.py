"""Which row of the classification head each class of the next training starts from, and a checkpoint that leads there.

Ultralytics copies rows by class name when it loads a checkpoint into a head of other classes, in both heads of yolo26
(BaseModel.load, _remap_cls_by_names). What it cannot know is prepared here. Where a training starts at all belongs in
`weights.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlops_assets.class_keys import class_id_of, class_key
from mlops_assets.detector.weights import StartingPoint, WeightsError, load_model, save_model, with_fresh_classes
from mlops_assets.labels.class_links import NO_LINKS, ClassLinks

_NAMED = 10
"""Classes that a sentence names; of more it gives the number."""


@dataclass(frozen=True)
class HeadRows:
    """The rows of a head for `wanted` classes, taken from one for `known` ones.

    Attributes:
        known: Classes of the source's rows; None for a row whose name is no class key.
        wanted: Classes of the new head's rows.
        sources: By new row: the source's row that it starts from; None: it starts as an untrained one.
    """

    known: tuple[int | None, ...]
    wanted: tuple[int, ...]
    sources: tuple[int | None, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """Wanted classes that start from their own row."""
        return tuple(w for w, row in self._pairs() if row is not None and self.known[row] == w)

    @property
    def inherited(self) -> Mapping[int, int]:
        """Wanted classes that start from the row of a class that was merged into them, and that class."""
        found = {w: self.known[row] for w, row in self._pairs() if row is not None}
        return {w: source for w, source in found.items() if source is not None and source != w}

    @property
    def new(self) -> tuple[int, ...]:
        """Wanted classes that start untrained."""
        return tuple(w for w, row in self._pairs() if row is None)

    @property
    def dropped(self) -> tuple[int, ...]:
        """Known classes whose row goes."""
        used = {row for row in self.sources if row is not None}
        return tuple(k for row, k in enumerate(self.known) if k is not None and row not in used)

    def sentence(self) -> str:
        """What becomes of the classes, in words."""
        parts = [f"keeps {len(self.kept)} of {len(self.known)} classes"]
        parts += [f"{class_key(w)} starts from {class_key(k)}, merged into it" for w, k in self.inherited.items()]
        parts += [f"{what}: {_keys(ids)}" for what, ids in (("new", self.new), ("dropped", self.dropped)) if ids]
        return ", ".join(parts)

    def _pairs(self) -> list[tuple[int, int | None]]:
        return list(zip(self.wanted, self.sources, strict=True))


def head_rows(known: Sequence[int | None], wanted: Sequence[int], links: ClassLinks = NO_LINKS) -> HeadRows:
    """Find the row that each wanted class starts from: its own, else that of a class merged into it, else none.

    Where both classes of a merge were known, the one that stays keeps its row: the mean or sum of two rows is a
    detector of neither. Of several merged into an unknown class the lowest id, which was labelled first, gives the row.

    Args:
        known: Class ids by row of the source; None for a row that is no class of the use case.
        wanted: Class ids by row of the new head.
        links: Merged classes.
    """
    own = {class_id: row for row, class_id in enumerate(known) if class_id is not None}
    heirs: dict[int, int] = {}
    for class_id in sorted(own):
        heirs.setdefault(links.target(class_id), own[class_id])
    return HeadRows(tuple(known), tuple(wanted), tuple(own.get(w, heirs.get(w)) for w in wanted))


def arranged(start: StartingPoint, class_ids: Sequence[int], links: ClassLinks = NO_LINKS) -> StartingPoint:
    """Make sure that loading the starting weights gives each class the row of `head_rows`.

    Ultralytics alone would leave a class untrained whose device the champion knows under a class that was merged into
    it, and where no name matches and the number of classes is the same it would copy the rows by position. Then
    a copy of the checkpoint beside it is returned, with other names or an untrained head. A display name is nowhere
    in it, so that a rename changes nothing.

    Args:
        start: From `weights.starting_point`.
        class_ids: Classes of the training, by index.
        links: Merged classes.

    Returns:
        The starting point; the champion's says in its reason what becomes of the classes.

    Raises:
        WeightsError: The starting weights are missing, broken, or fused for inference.
    """
    if start.path is None:
        return start
    model = load_model(start.path)
    if model.is_fused():
        raise WeightsError(f"{start.path} is fused for inference; give the checkpoint that training wrote")
    names = [str(model.names[index]) for index in sorted(model.names)]
    rows = head_rows([class_id_of(name) for name in names], class_ids, links)
    reason = f"{start.reason}: {rows.sentence()}" if start.kind == "champion" else start.reason
    if not any(row is not None for row in rows.sources):
        by_position = len(names) == len(class_ids)
        path = with_fresh_classes(start.path, _beside(start.path, "without_classes")) if by_position else start.path
    else:
        path = _renamed(model, names, rows, start.path)
    return replace(start, path=path, reason=reason)


def _renamed(model: Any, names: list[str], rows: HeadRows, source: Path) -> Path:
    """A checkpoint whose rows bear the names of the classes that start from them; the source where it is one."""
    given = {row: class_key(w) for w, row in zip(rows.wanted, rows.sources, strict=True) if row is not None}
    if all(names[row] == name for row, name in given.items()):
        return source
    model.names = {row: given.get(row, f"left out {row}") for row in range(len(names))}
    return save_model(model, _beside(source, "arranged"))


def _beside(source: Path, name: str) -> Path:
    return source.with_name(f"{source.stem}_{name}.pt")


def _keys(class_ids: Sequence[int]) -> str:
    if len(class_ids) > _NAMED:
        return f"{len(class_ids)} classes"
    return " ".join(class_key(class_id) for class_id in class_ids)
