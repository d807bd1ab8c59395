"""When to import the label drop, decided from plain facts: no Dagster, no clock, no files.

A state of the labels (`label_state`) names the drop's listing and what people decided about classes. It can come back:
a file is added, then taken away again. So the key of a request names the import that it is to replace as well.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlops_assets.labels.drop_state import Listing
from sensors.decisions import Attempt, Decision, decide_attempt


@dataclass(frozen=True)
class LabelCursor:
    """What the sensor remembers: the state seen last, so that a drop still being copied is left alone, and its pass.

    Attributes:
        seen: State at the end of the last complete pass over the drop.
        listing: The pass that goes on.
    """

    seen: str = ""
    listing: Listing = field(default_factory=Listing)

    @classmethod
    def parse(cls, text: str | None) -> "LabelCursor":
        """Read a cursor; one that is lost, or of another release, counts as nothing seen."""
        try:
            content = json.loads(text or "{}")
        except ValueError:
            return cls()
        if not isinstance(content, dict):
            return cls()
        return cls(str(content.get("seen", "")), Listing.parse(content.get("listing")))

    def text(self) -> str:
        """What `parse` reads."""
        return json.dumps({"seen": self.seen, "listing": self.listing.as_json()})


@dataclass(frozen=True)
class Imported:
    """The import that the tables come from, as Dagster's event log tells it.

    Attributes:
        state: State of the labels that it read; "" if unknown, or if another import has stopped half-way since.
        number: Of the materialisation of the classes, by which it ends.
        run_id: Of its run; "" if none is known.
        key: Under which a sensor asked for that run; None if somebody else did.
        succeeded: Whether that run came to its end with all checks; None if it is not known (any more).
        waiting: Labels that it left, since their photos were not taken in yet.
        photo_days: Days of photos that are taken in by now, if labels wait and that is more than it knew; else 0.
    """

    state: str
    number: int
    run_id: str = ""
    key: str | None = None
    succeeded: bool | None = None
    waiting: int = 0
    photo_days: int = 0


def label_key(state: str, imported: Imported | None) -> str:
    """Key of the request to import a state: that state and the import before, or the days of photos that came for it.

    A run that wrote the tables and then failed is asked for again under its own key.
    """
    if imported is not None and imported.state == state and imported.succeeded is False and imported.key:
        return imported.key
    if imported is None:
        return f"labels-{state[:16]}-0"
    if imported.state == state and imported.photo_days:
        return f"labels-{state[:16]}-days-{imported.photo_days}"
    return f"labels-{state[:16]}-{imported.number}"


def decide_labels(
    state: str,
    seen: str,
    imported: Imported | None,
    attempts: Sequence[Attempt],
    *,
    busy: str | None,
    taking_in: str | None = None,
) -> Decision:
    """Import once the labels have stood still for one pass, unless the tables come from this very state.

    Labels may come before their photos; so a state is imported again once further days were taken in.

    Args:
        state: Of the labels now; "" for an empty drop.
        seen: State at the pass before.
        imported: What the tables come from.
        attempts: Earlier runs under `label_key`.
        busy: What imports just now, in words.
        taking_in: What takes in photos just now, in words.
    """
    key = label_key(state, imported)
    if not state:
        kept = "; what was imported stays" if imported else ""
        return Decision(key, None, f"the label drop is empty{kept}")
    is_done = imported is not None and imported.state == state and imported.succeeded is not False
    waiting = f"{imported.waiting} labels wait for their photos" if imported and imported.waiting else ""
    by = f" by run {imported.run_id[:8]}" if imported and imported.run_id else ""
    done = f"imported as it is{by}{'; ' if waiting else ''}{waiting}"
    if imported is not None and is_done and not imported.photo_days:
        return Decision(key, None, done)
    if busy:
        return Decision(key, None, f"labels are being imported: {busy}")
    if state != seen:
        return Decision(key, None, "the labels changed; waiting until they stand still")
    if is_done and taking_in:
        return Decision(key, None, f"{waiting}, which are being taken in: {taking_in}")
    decision = decide_attempt(key, attempts)
    if not is_done:
        return decision
    is_imported = any(attempt.status == "succeeded" for attempt in attempts)
    return Decision(key, decision.attempt, done if is_imported else f"{waiting}: {decision.reason}")
