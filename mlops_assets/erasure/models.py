"""The models that a photo went into, and the pictures of it that MLflow and this machine keep of their making."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.erasure.places import Places

if TYPE_CHECKING:
    from resources.model_registry import ModelVersionInfo

_SHORT = 16
"""Digits of a fingerprint in the names of scratch folders, as `detector/candidate` makes them."""


def models_with(places: Places, holding: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Registered versions that learned from a photo, were tested on it, or began with the weights of one that learned.

    Args:
        places: Its registry is asked if any dataset version held the photo.
        holding: Splits that the photo was in, by fingerprint of the dataset version.

    Returns:
        version, aliases and because, oldest first.
    """
    if not holding:
        return []
    found: dict[str, dict[str, Any]] = {}
    learned: set[str] = set()
    for version in places.registry.versions():
        because = _because(version, holding, learned)
        if because is not None:
            found[version.version] = {
                "version": version.version,
                "aliases": list(version.aliases),
                "because": because,
            }
            if because != "tested on it":
                learned.add(version.version)
    return list(found.values())


def _because(version: "ModelVersionInfo", holding: Mapping[str, list[str]], learned: set[str]) -> str | None:
    splits = holding.get(version.tags.get("dataset_fingerprint", ""), [])
    if "train" in splits:
        return "trained on it"
    if "val" in splits:
        return "tuned on it (val)"
    origin = version.tags.get("started_from_version")
    if version.tags.get("started_from_kind") == "champion" and origin in learned:
        return f"started from version {origin}"
    return "tested on it" if "test" in splits else None


def delete_pictures(places: Places, photo_id: str, holding: Mapping[str, list[str]]) -> int:
    """Delete what MLflow may show of a photo: sample batches of trainings, and pictures of evaluations; how many."""
    if not holding:  # never in a dataset, so nothing was trained or measured on it
        return 0
    return _delete_sample_batches(places, holding) + _delete_named(places, photo_id)


def _delete_named(places: Places, photo_id: str) -> int:
    from resources.mlflow_pictures import delete_named_pictures, runs_picturing

    uri = places.registry.tracking_uri
    return sum(len(delete_named_pictures(uri, run_id, [photo_id])) for run_id in runs_picturing(uri, photo_id))


def _delete_sample_batches(places: Places, holding: Mapping[str, list[str]]) -> int:
    """Of every training whose dataset version showed the photo."""
    shown = [fingerprint for fingerprint, splits in holding.items() if {"train", "val"} & set(splits)]
    if not shown:
        return 0
    from resources.mlflow_pictures import delete_pictures as delete_of_run
    from resources.mlflow_pictures import runs_on_datasets

    uri = places.registry.tracking_uri
    runs = {run_id: delete_of_run(uri, run_id) for run_id in runs_on_datasets(uri, shown)}
    for version in places.registry.versions():
        # A version names its files below its own folder of the run's artifacts.
        names = [path.partition("/")[2] for path in runs.get(version.run_id, [])]
        if names:
            places.registry.forget_files(version.version, names)
    return sum(len(paths) for paths in runs.values())


def clear_scratch(folder: Path, photo_id: str, fingerprints: Sequence[str]) -> int:
    """Delete this machine's exports and trainings of dataset versions, and any other file of the photo's name.

    Returns:
        Folders and files deleted.
    """
    if not folder.is_dir():
        return 0
    exports = [
        path
        for kind in ("datasets", "trainings")
        for fingerprint in fingerprints
        for path in folder.rglob(f"{kind}/{fingerprint[:_SHORT]}-*")
        if path.is_dir()
    ]
    for path in exports:
        shutil.rmtree(path)
    others = [path for path in folder.rglob(f"*{photo_id}*") if path.is_file()]
    for path in others:
        path.unlink()
    return len(exports) + len(others)
