"""The record of an erasure, `erasures/<photo_id>.json` in the store: what was removed, and what is left to a person.

It holds counts, identifiers of models and of other photos, and no name of a person, place or file. Every step adds to
it, so that a run that is cut off and run again gives one record.
"""

import json
from collections.abc import Mapping
from typing import Any

from resources.atomic_write import write_atomically
from resources.locations import location

Facts = dict[str, Any]

PERSONS_PART = (
    "Backups made before: let them expire; after a restore run the job again.",
    "Older versions of tables in a bucket that keeps them: they go by its lifecycle rule; shorten it if need be.",
    "The label drop, which is the annotators': delete the files that the run names, then run the job again.",
    "The technician's device, the upload app, and whoever was given the photo outside of this catalogue.",
    "Backups of Label Studio's database, where there is one: let them expire too.",
    "Other use cases whose landing zone held the photo: run the job in each code location.",
    "The models listed: decide whether to train anew without the photo; `retrain_detector` does it.",
)
"""What no job can do."""


def read_report(root: str, photo_id: str) -> Facts:
    """What has been recorded so far; empty at first."""
    path = location(root) / "erasures" / f"{photo_id}.json"
    found: Facts = json.loads(path.read_text()) if path.exists() else {}
    return found


def note(root: str, photo_id: str, facts: Mapping[str, Any], latest: Mapping[str, Any] | None = None) -> Facts:
    """Add facts to the record: numbers are added up, lists united, anything else replaced, as all of `latest` is."""
    standing = read_report(root, photo_id)
    merged: Facts = _merged(standing, facts) | dict(latest or {})
    if merged != standing:
        path = location(root) / "erasures" / f"{photo_id}.json"
        write_atomically(path, json.dumps(merged, indent=1, ensure_ascii=False).encode())
    return merged


def _merged(standing: Mapping[str, Any], facts: Mapping[str, Any]) -> Facts:
    merged = dict(standing)
    for key, value in facts.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = _merged(old, value)
        elif isinstance(value, list) and isinstance(old, list):
            merged[key] = [*old, *(item for item in value if item not in old)]
        elif isinstance(value, int) and isinstance(old, int) and not isinstance(value, bool):
            merged[key] = old + value
        else:
            merged[key] = value
    return merged


def as_markdown(facts: Mapping[str, Any]) -> str:
    """The record for a person."""
    lines = ["| removed | |", "| --- | ---: |"]
    lines += [f"| {name} | {count} |" for name, count in sorted(facts.get("removed", {}).items())]
    lines += ["", *_models(facts.get("models", []))]
    near = facts.get("near_duplicates", [])
    if near:
        lines += ["", f"Near-duplicates, not erased; decide on each: {', '.join(f'`{each}`' for each in near)}"]
    for key, words in (
        ("void_datasets", "Dataset versions that are void"),
        ("still_running", "Runs that were going on; run the job again when they have ended"),
    ):
        if facts.get(key):
            lines += ["", f"{words}: {', '.join(f'`{each}`' for each in facts[key])}"]
    lines += ["", "What is left to a person:", ""]
    return "\n".join([*lines, *(f"- {part}" for part in (*facts.get("to_do", []), *PERSONS_PART))])


def _models(models: list[Mapping[str, Any]]) -> list[str]:
    if not models:
        return ["No registered model was trained on it."]
    said = [
        f"- version {model['version']} ({', '.join(model['aliases']) or 'no alias'}): {model['because']}"
        for model in models
    ]
    return ["Models, which stay as they are:", "", *said]
