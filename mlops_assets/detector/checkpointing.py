"""Checkpoints of a training: which training one belongs to, written beside the training, found again after a kill.

What a state holds belongs in `training_state.py`, how files are kept atomically in `resources/checkpoint_files.py`.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.detector.training_state import StateError, read_state, state_bytes
from mlops_assets.detector.weights import StartingPoint
from mlops_assets.use_case import TrainingRules
from resources.checkpoint_files import Checkpoint, CheckpointFolder, CheckpointShelf, DamagedCheckpointError

STATE, BEST, CURVES = "state.pt", "weights/best.pt", "results.csv"
"""Files of a checkpoint by the names that they have in a training's folder; STATE is missing once it is finished."""

_PACE = {"workers", "checkpoint_epochs"}
"""Settings that change nothing of what is learnt."""


@dataclass(frozen=True)
class TrainingIdentity:
    """What makes two trainings of one Dagster run the same; only then one goes on from the other's checkpoint.

    Attributes:
        dataset: Fingerprint of the dataset version.
        settings: Every setting with its value.
        start: Kind and SHA-256 of the starting weights.
        classes: Stable names by index.
    """

    dataset: str
    settings: Mapping[str, Any]
    start: str
    classes: tuple[str, ...]

    def digest(self) -> str:
        """Hex, 16 digits."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"dataset": self.dataset, "start": self.start, "classes": list(self.classes), **self.settings}


def identify(dataset: str, rules: TrainingRules, start: StartingPoint, classes: list[str]) -> TrainingIdentity:
    """The identity of a training.

    Args:
        dataset: Fingerprint of the dataset version.
        rules: With this run's overrides applied.
        start: From `weights.starting_point`.
        classes: Stable names by index.
    """
    settings = {name: value for name, value in rules.model_dump(mode="json").items() if name not in _PACE}
    return TrainingIdentity(dataset, settings, f"{start.kind} {start.sha256 or ''}".strip(), tuple(classes))


@dataclass(frozen=True)
class TrainingCheckpoints:
    """Where one training keeps its checkpoints, and what makes them its own."""

    shelf: CheckpointShelf
    identity: TrainingIdentity

    @property
    def folder(self) -> CheckpointFolder:
        """Those of this training."""
        return self.shelf.of(self.identity.digest())


@dataclass(frozen=True)
class Found:
    """A checkpoint that was brought to this machine.

    Attributes:
        folder: Holds its files.
        state: What the training goes on with; None for one that is finished.
        about: What was written with it.
    """

    folder: Path
    state: Mapping[str, Any] | None
    about: Mapping[str, Any]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return int(self.about["epoch"])


def find(checkpoints: TrainingCheckpoints, target: Path, say: Callable[[str], None]) -> Found | None:
    """The newest checkpoint of this training that is whole, or None; says what was found and what was passed over.

    What is damaged is removed. A store that is away is no damage: whoever tries again later finds what is there.

    Args:
        checkpoints: Of this training.
        target: An empty local folder for its files.
        say: Takes a sentence for the log.

    Raises:
        OSError: The store cannot be read, or `target` not be written.
    """
    folder = checkpoints.folder
    for number, manifest in enumerate(folder.newest_first()):
        try:
            found = _open(folder, folder.open(manifest), target / str(number))
        except (DamagedCheckpointError, StateError) as error:
            say(f"A checkpoint is damaged and passed over: {error}")
            folder.remove(manifest)
            continue
        say(_words(found))
        return found
    for other in checkpoints.shelf.trainings():
        if other != checkpoints.identity.digest():
            say(_not_taken_up(checkpoints.shelf.of(other), checkpoints.identity))
    say("No checkpoint of this training: it begins with its first epoch")
    return None


class CheckpointWriter:
    """Writes checkpoints beside the training, in a thread of its own.

    A store that is slower than the training holds it up at the next checkpoint: so no kill costs more than the epochs
    of one checkpoint and the one that was going on. A store that cannot be written does not end the training: it is
    said, and the next checkpoint is tried.
    """

    def __init__(self, checkpoints: TrainingCheckpoints) -> None:
        self.checkpoints = checkpoints
        self.kept_epoch = 0
        """The newest epoch whose checkpoint is in the store."""

        self.troubles: list[str] = []
        """What could not be written, in words; whoever says them takes them out."""

        self._waiting: tuple[Mapping[str, Any], dict[str, bytes]] | None = None
        self._wake = threading.Condition()
        self._writing = self._closing = False
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def put(self, state: Mapping[str, Any], files: dict[str, bytes]) -> None:
        """Have a state written with the files that belong to it, by name, once the one before is."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting is None and not self._writing)
            self._waiting = (state, files)
            self._wake.notify_all()

    def close(self) -> None:
        """Wait until what was put last is written."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting is not None or self._closing)
                job, self._waiting = self._waiting, None
                self._writing = job is not None
            if job is None:
                return
            state, files = job
            try:
                keep_state(self.checkpoints, state, files)
            except Exception as error:  # noqa: BLE001 whatever a store's client raises, the training goes on
                self.troubles.append(f"The checkpoint of epoch {state['epoch']} could not be kept: {error}")
            else:
                self.kept_epoch = int(state["epoch"])
            with self._wake:
                self._writing = False
                self._wake.notify_all()


def keep_state(checkpoints: TrainingCheckpoints, state: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write one checkpoint of a training that goes on.

    Raises:
        OSError: The store cannot be written.
    """
    about = {name: state[name] for name in ("epoch", "epochs", "seconds")} | {"finished": False}
    checkpoints.folder.write(state["epoch"], _about(checkpoints, about), {STATE: state_bytes(state), **files})


def keep_result(
    checkpoints: TrainingCheckpoints, about: Mapping[str, Any], files: Mapping[str, bytes], epoch: int
) -> None:
    """Write the last checkpoint of a training: finished, with nothing to go on from.

    Raises:
        OSError: The store cannot be written.
    """
    checkpoints.folder.write(epoch + 1, _about(checkpoints, {**about, "epoch": epoch, "finished": True}), files)


def _about(checkpoints: TrainingCheckpoints, about: Mapping[str, Any]) -> dict[str, Any]:
    return {**about, "training": checkpoints.identity.facts()}


def _open(folder: CheckpointFolder, checkpoint: Checkpoint, target: Path) -> Found:
    folder.fetch(checkpoint, target)
    finished = bool(checkpoint.about["finished"])
    return Found(target, None if finished else read_state(target / STATE), checkpoint.about)


def _words(found: Found) -> str:
    if found.state is None:
        return f"This training was finished before, after {found.epoch} epochs: it goes straight to its export"
    if found.state["ended"]:
        return f"All {found.epoch} epochs were trained before: only the best one is validated again"
    return f"Goes on from the checkpoint of epoch {found.epoch} of {found.about['epochs']}"


def _not_taken_up(folder: CheckpointFolder, wanted: TrainingIdentity) -> str:
    for manifest in folder.newest_first():
        try:
            there = folder.open(manifest).about["training"]
        except (DamagedCheckpointError, KeyError):
            continue
        names = sorted(name for name, value in wanted.facts().items() if there.get(name) != value)
        changes = ", ".join(f"{name} {there.get(name)} → {wanted.facts()[name]}" for name in names)
        return f"The checkpoint of another training of this run is not taken up: {changes}"
    return "There are files of another training of this run, but no checkpoint of it"
