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


def arranged(
    start: StartingPoint, class_ids: Sequence[int], folder: Path, links: ClassLinks = NO_LINKS
) -> StartingPoint:
    """Make sure that loading the starting weights gives each class the row of `head_rows`.

    Ultralytics alone would leave a class untrained whose device the champion knows under a class that was merged into
    it, and where no name matches and the number of classes is the same it would copy the rows by position. Then
    a copy of the checkpoint is returned, with other names or an untrained head. A display name is nowhere in it, so
    that a rename changes nothing.

    Args:
        start: From `weights.starting_point`.
        class_ids: Classes of the training, by index.
        folder: Where a copy goes, if one is needed.
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
    return replace(start, path=_checkpoint(model, names, rows, start.path, folder), reason=reason)


def _checkpoint(model: Any, names: list[str], rows: HeadRows, source: Path, folder: Path) -> Path:
    """One of which Ultralytics takes the rows of `HeadRows` and no others: the source where it is one, else a copy."""
    given = {row: class_key(w) for w, row in zip(rows.wanted, rows.sources, strict=True) if row is not None}
    by_position = not given and len(names) == len(rows.wanted)
    if not by_position and all(names[row] == name for row, name in given.items()):
        return source
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}_arranged.pt"
    if by_position:
        return with_fresh_classes(source, target)
    model.names = {row: given.get(row, f"left out {row}") for row in range(len(names))}
    return save_model(model, target)


def _keys(class_ids: Sequence[int]) -> str:
    if len(class_ids) > _NAMED:
        return f"{len(class_ids)} classes"
    return " ".join(class_key(class_id) for class_id in class_ids)
