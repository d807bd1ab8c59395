"""The files of a training's checkpoints: what it goes on from after its process was killed.

A checkpoint is a manifest, written last and atomically, that names its files by their SHA-256; whoever reads it sees
all of it or nothing. What the files hold belongs in `mlops_assets/detector/`. Trained models are kept in the model
registry; nothing here outlives the registration of what comes of a training by much. The resource of Dagster is
`checkpoints.Checkpoints`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from resources.atomic_write import write_atomically
from resources.locations import location

if TYPE_CHECKING:
    from upath import UPath

KEPT = 2
"""Checkpoints of a training: the newest, and the one before in case that is damaged."""

_FILES = "files"


class DamagedCheckpointError(RuntimeError):
    """A checkpoint cannot be read, or a file of it is not what was written; the message names the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as its manifest describes it.

    Attributes:
        number: Rises from checkpoint to checkpoint of a training.
        about: What the training wrote about it.
        files: SHA-256 in hex by name.
        manifest: Address of the manifest.
    """

    number: int
    about: Mapping[str, Any]
    files: Mapping[str, str]
    manifest: str


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one training; plain data, so that it can be handed to another process.

    Attributes:
        address: A folder, or an address such as s3://bucket/folder.
    """

    address: str

    def write(self, number: int, about: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Write a checkpoint and remove all but the newest two.

        Each checkpoint has files of its own, also where their content is the same: damage to one costs one checkpoint.

        Args:
            number: Higher than all before; the same number again replaces that one.
            about: Anything that JSON holds.
            files: Content by name.

        Raises:
            OSError: The store cannot be written; what there was stays as it was.
        """
        folder = location(self.address)
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        for name, content in files.items():
            write_atomically(folder / _FILES / _stored_name(number, sums[name]), content)
        manifest = {"number": number, "about": dict(about), "files": sums}
        write_atomically(folder / f"{number:08}.json", json.dumps(manifest).encode())
        self._prune(folder)

    def newest_first(self) -> Iterator[str]:
        """Addresses of the manifests, the newest first."""
        folder = location(self.address)
        yield from (str(path) for path in reversed(_manifests(folder)))

    def open(self, manifest: str) -> Checkpoint:
        """Read a manifest.

        Raises:
            DamagedCheckpointError: It is gone or no manifest.
            OSError: The store cannot be read, which says nothing about the manifest.
        """
        try:
            found = json.loads(location(manifest).read_bytes())
            return Checkpoint(int(found["number"]), found["about"], found["files"], manifest)
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise DamagedCheckpointError(f"{manifest} is gone or no checkpoint ({error})") from error

    def remove(self, manifest: str) -> None:
        """Give a checkpoint up: of a higher number, it would be kept in place of those that are written from now on.

        Its files go with the next checkpoint that is written.
        """
        location(manifest).unlink(missing_ok=True)

    def fetch(self, checkpoint: Checkpoint, target: Path) -> None:
        """Bring the files of a checkpoint into a local folder, each held against its SHA-256.

        Raises:
            DamagedCheckpointError: A file is gone, or is not what was written.
            OSError: The store cannot be read, or the local folder cannot be written.
        """
        for name, sha256 in checkpoint.files.items():
            source = location(self.address) / _FILES / _stored_name(checkpoint.number, sha256)
            try:
                content = source.read_bytes()
            except FileNotFoundError as error:
                raise DamagedCheckpointError(f"{source} ({name} of {checkpoint.manifest}) is gone") from error
            if hashlib.sha256(content).hexdigest() != sha256:
                raise DamagedCheckpointError(f"{source} ({name} of {checkpoint.manifest}) is not what was written")
            path = target / PurePosixPath(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.part")
            partial.write_bytes(content)
            partial.replace(path)

    def _stored_files(self, folder: "UPath") -> set[str]:
        files = folder / _FILES
        return {path.name for path in files.iterdir()} if files.exists() else set()

    def _prune(self, folder: "UPath") -> None:
        manifests = _manifests(folder)
        for path in manifests[:-KEPT]:
            path.unlink(missing_ok=True)
        named: set[str] = set()
        for path in manifests[-KEPT:]:
            try:
                kept = self.open(str(path))
            except DamagedCheckpointError:
                continue  # it can be gone on from no more, so nothing is kept for it
            named |= {_stored_name(kept.number, sha256) for sha256 in kept.files.values()}
        for name in self._stored_files(folder) - named:
            (folder / _FILES / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class CheckpointShelf:
    """The checkpoints of one Dagster run, a folder for each training that it tried with other settings or data.

    Attributes:
        address: A folder, or an address such as s3://bucket/folder.
    """

    address: str

    @property
    def name(self) -> str:
        """Its folder's, which is the run's id."""
        return self.address.rpartition("/")[2]

    def of(self, training: str) -> CheckpointFolder:
        """Those of one training, by what identifies it."""
        return CheckpointFolder(f"{self.address}/{training}")

    def trainings(self) -> list[str]:
        """The trainings that have a folder, sorted."""
        folder = location(self.address)
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def delete(self) -> None:
        """Remove all of them; that there are none is no error."""
        remove_folder(location(self.address))


def _stored_name(number: int, sha256: str) -> str:
    return f"{number:08}-{sha256}"


def _manifests(folder: "UPath") -> list["UPath"]:
    """In the order of their numbers."""
    return sorted(folder.glob("[0-9]*.json"), key=lambda path: path.name) if folder.exists() else []


def remove_folder(folder: "UPath") -> None:
    """Remove a folder of a store with all it holds; that it is not there is no error."""
    if folder.exists():
        folder.fs.rm(folder.path, recursive=True)
