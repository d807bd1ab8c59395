"""Which real class names the rule for names alike would hold up, and which typos it finds: the source of `near_name`.

Names of one vocabulary mean different things: each pair of them that is alike would wait for a person although nothing
is wrong. Typos are one random edit, plurals the regular ones.
"""

import itertools
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from mlops_assets.labels.class_names import fold_name, likeness
from mlops_assets.use_case import NewClassRules
from resources.settings import PROJECT

DATA = PROJECT.parent / "shared" / "data"
THRESHOLDS = (0.75, 0.8, 0.85, 0.9)
TYPOS_A_NAME = 3
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_XML_NAMES = re.compile(r"<object>\s*<name>([^<]+)</name>|<label>\s*<name>([^<]+)</name>|<box[^>]* label=\"([^\"]+)\"")


def run() -> dict[str, float]:
    """Print the table; returns shares at the default threshold.

    Raises:
        FileNotFoundError: The label files are not there.
    """
    if not DATA.is_dir():
        raise FileNotFoundError(f"{DATA} is not there: the label files are read from it")
    ours, theirs = dict(_shared_vocabularies()), dict(_ultralytics_vocabularies())
    names = sorted({name for names in (*ours.values(), *theirs.values()) for name in names})
    rng = random.Random(0)  # noqa: S311 draws of a benchmark
    typos = [(name, _typo(name, rng)) for name in names for _ in range(TYPOS_A_NAME) if len(name) > 1]
    typos = [(name, wrong) for name, wrong in typos if fold_name(name) != fold_name(wrong)]
    plurals = [(name, name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")) for name in names]
    alike = {"shared": _pairs(ours), "ultralytics": _pairs(theirs)}
    print(f"{len(ours)} + {len(theirs)} vocabularies, {len(names)} names; pairs held up, typos and plurals found:")
    for threshold in THRESHOLDS:
        held = {part: sum(score >= threshold for score, *_ in pairs) for part, pairs in alike.items()}
        print(f"  {threshold}: {held}, {_share(typos, threshold):.2f}, {_share(plurals, threshold):.2f}")
    default = NewClassRules().near_name
    for score, first, second in sorted((p for pairs in alike.values() for p in pairs if p[0] >= default), reverse=True):
        print(f"    {score:.2f}  {first} / {second}")
    classes = sum(map(len, (*ours.values(), *theirs.values())))
    return {
        "names_held_up": sum(score >= default for pairs in alike.values() for score, *_ in pairs) / classes,
        "shared_names_held_up": float(sum(score >= default for score, *_ in alike["shared"])),
        "typos_found": _share(typos, default),
        "plurals_found": _share(plurals, default),
    }


def _share(pairs: list[tuple[str, str]], threshold: float) -> float:
    return sum(likeness(first, second) >= threshold for first, second in pairs) / len(pairs)


def _pairs(vocabularies: dict[str, set[str]]) -> list[tuple[float, str, str]]:
    """Pairs of different names of one vocabulary that are at least somewhat alike."""
    pairs = (pair for names in vocabularies.values() for pair in itertools.combinations(sorted(names), 2))
    distinct = {pair for pair in pairs if fold_name(pair[0]) != fold_name(pair[1])}
    scored = ((likeness(first, second), first, second) for first, second in distinct)
    return [found for found in scored if found[0] >= min(THRESHOLDS)]


def _typo(name: str, rng: random.Random) -> str:
    place, letter = rng.randrange(len(name) - 1), rng.choice(LETTERS)
    left, here, following, rest = name[:place], name[place], name[place + 1], name[place + 2 :]
    edits = (left + following + rest, left + letter + here + following + rest, left + letter + following + rest)
    return rng.choice((*edits, left + following + here + rest))


def _ultralytics_vocabularies() -> Iterator[tuple[str, set[str]]]:
    import ultralytics

    for path in sorted((Path(ultralytics.__file__).parent / "cfg" / "datasets").glob("*.yaml")):
        if names := _yaml_names(path):
            yield path.name, names


def _shared_vocabularies() -> Iterator[tuple[str, set[str]]]:
    """By dataset, and by file for the label files of other projects."""
    found: dict[str, set[str]] = {}
    for path in sorted(DATA.rglob("*")):
        names = _READERS.get(path.suffix, lambda _: set())(path) if path.is_file() else set()
        if names:
            parts = path.relative_to(DATA).parts
            found.setdefault("/".join(parts) if parts[0] == "label_formats" else parts[0], set()).update(names)
    yield from found.items()


def _yaml_names(path: Path) -> set[str]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = content.get("names") if isinstance(content, dict) else None
    return set(map(str, names.values() if isinstance(names, dict) else names or ()))


def _json_names(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    labels = re.findall(r'"(?:rectangle|polygon)labels":\s*\["([^"]+)"', text)
    try:
        content = json.loads(text)
    except ValueError:  # broken on purpose, for the importers
        return set()
    categories = content.get("categories", []) if isinstance(content, dict) else []
    named = [entry["name"] for entry in categories if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
    return {*labels, *named}


def _xml_names(path: Path) -> set[str]:
    found = _XML_NAMES.findall(path.read_text(encoding="utf-8", errors="replace"))
    return {name.strip() for groups in found for name in groups if name.strip()}


_READERS = {".yaml": _yaml_names, ".json": _json_names, ".xml": _xml_names}
