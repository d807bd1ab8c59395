"""The model registry: one registered model of MLflow a use case, whose versions are immutable.

A version names its files with their SHA-256, so a download is checked and a file is never replaced under a version.
Which version serves is the alias `champion`; who may become champion is decided in the detector stage, not here.
"""

import datetime as dt
import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import dagster as dg

from resources.mlflow_client import each, open_client
from resources.mlflow_status import DAGSTER_RUN_TAG
from resources.model_errors import BrokenVersionError, ModelRegistryError

CHAMPION = "champion"
"""The alias of the version that serves."""

_FILES_TAG = "files"
"""On a version: JSON of its files' names and SHA-256 in hex."""


@dataclass(frozen=True)
class ModelVersionInfo:
    """A version of the registered model.

    Attributes:
        version: MLflow's number, as text.
        run_id: The MLflow run that it was trained in.
        created_at: When it was registered, UTC.
        aliases: The names that point at it, such as `champion`.
        tags: As registered; values that were no text are JSON, see `json`.
        files: File name to SHA-256 in hex.
    """

    version: str
    run_id: str
    created_at: dt.datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    files: Mapping[str, str]

    def json(self, tag: str) -> Any:
        """A tag that was registered as a mapping, list, number or boolean.

        Raises:
            ModelRegistryError: The version lacks the tag, or it is no JSON.
        """
        if tag not in self.tags:
            raise ModelRegistryError(f"Model version {self.version} has no tag {tag!r}, only {', '.join(self.tags)}")
        try:
            return json.loads(self.tags[tag])
        except json.JSONDecodeError as error:
            raise ModelRegistryError(f"Tag {tag!r} of model version {self.version} is no JSON: {error}") from error


class ModelRegistry(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The versions of one registered model; works without a Dagster run too."""

    tracking_uri: str
    """`sqlite:///<file>`, `postgresql://…` or `http(s)://…`."""

    model_name: str
    """The use case's registered model, made with its first version."""

    def of(self, model_name: str) -> "ModelRegistry":
        """Another registered model of the same registry."""
        return ModelRegistry(tracking_uri=self.tracking_uri, model_name=model_name)

    def register(self, run_id: str, files: Mapping[str, Path], tags: Mapping[str, Any]) -> ModelVersionInfo:
        """Store files with an MLflow run and register them as a version.

        Registering the same files of the same run again (a retried step) gives the version that is there, with the
        tags brought up to date.

        Args:
            run_id: The MLflow run that trained the model.
            files: Name within the version, such as `weights/best.pt`, to the local file.
            tags: Text as it is; anything else as JSON.

        Raises:
            FileNotFoundError: One of the files is not there.
            ValueError: A name leaves the version's folder.
            ModelRegistryError: MLflow's store of artifacts has not got all of the files.
        """
        checksums = {name: _sha256(_checked(name, path)) for name, path in sorted(files.items())}
        client = open_client(self.tracking_uri)
        run = client.get_run(run_id)
        fingerprint = hashlib.sha256(json.dumps(checksums).encode()).hexdigest()
        folder = f"model-{fingerprint[:16]}"  # named by content, so a retry cannot replace a registered file
        all_tags = {**tags, _FILES_TAG: checksums}
        if DAGSTER_RUN_TAG in run.data.tags:
            all_tags[DAGSTER_RUN_TAG] = run.data.tags[DAGSTER_RUN_TAG]
        encoded = {key: _encoded(value) for key, value in all_tags.items()}
        known = self._first(run_id, checksums)
        if known is not None:
            self.set_tags(known.version, tags)
            return self.version(known.version)
        _upload(client, run_id, files, folder)
        self._ensure_model(client)
        source = f"{run.info.artifact_uri}/{folder}"
        created = client.create_model_version(self.model_name, source, run_id, tags=encoded)
        first = self._first(run_id, checksums)
        if first is not None and first.version != str(created.version):
            # Somebody else registered the same at the same moment, or the answer to this request got lost once.
            client.delete_model_version(self.model_name, str(created.version))
            return first
        return self.version(str(created.version))

    def champion(self) -> ModelVersionInfo | None:
        """The version that serves, None before there is one."""
        client = open_client(self.tracking_uri)
        model = self._model(client)
        number = None if model is None else model.aliases.get(CHAMPION)
        return None if number is None else self.version(str(number))

    def set_champion(self, version: str) -> None:
        """Let a version serve.

        Raises:
            ModelRegistryError: There is no such version.
        """
        self.version(version)
        open_client(self.tracking_uri).set_registered_model_alias(self.model_name, CHAMPION, version)

    def version(self, version: str) -> ModelVersionInfo:
        """One version.

        Raises:
            ModelRegistryError: There is no such version.
        """
        from mlflow.exceptions import MlflowException

        try:
            return _info(open_client(self.tracking_uri).get_model_version(self.model_name, version))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            there = ", ".join(known.version for known in self.versions()) or "none"
            raise ModelRegistryError(
                f"MLflow model {self.model_name!r} has no version {version!r}; there are: {there}"
            ) from error

    def versions(self) -> list[ModelVersionInfo]:
        """Every version, oldest first."""
        client = open_client(self.tracking_uri)
        found = each(lambda token: client.search_model_versions(f"name = '{self.model_name}'", page_token=token))
        # A search leaves aliases out.
        model = self._model(client)
        aliases = {} if model is None else model.aliases
        return sorted((_info(entry, aliases) for entry in found), key=lambda info: int(info.version))

    def set_tags(self, version: str, tags: Mapping[str, Any]) -> None:
        """Add to a version's tags, such as metrics that were measured later; text as it is, anything else as JSON.

        Raises:
            ValueError: It would rewrite the list of the version's files.
        """
        if _FILES_TAG in tags:
            raise ValueError(f"The tag {_FILES_TAG!r} of a model version is kept by the registry")
        client = open_client(self.tracking_uri)
        for key, value in tags.items():
            client.set_model_version_tag(self.model_name, version, key, _encoded(value))

    def forget_files(self, version: str, names: Collection[str]) -> None:
        """Take files that were deleted from the list of a version's files; see `mlflow_pictures`."""
        info = self.version(version)
        kept = {name: checksum for name, checksum in info.files.items() if name not in names}
        if len(kept) < len(info.files):
            client = open_client(self.tracking_uri)
            client.set_model_version_tag(self.model_name, version, _FILES_TAG, _encoded(kept))

    def download(self, version: str, name: str, folder: Path, sha256: str | None = None) -> Path:
        """A file of a version as a local file.

        Args:
            version: Of the model.
            name: As registered, such as `onnx/model.onnx`.
            folder: Cache; the file lies under `<folder>/<model name>/<version>/<name>` and is downloaded once.
            sha256: Of the file, where the caller knows it: a cached copy with these bytes is given without asking
                MLflow, whose import costs seconds.

        Raises:
            ModelRegistryError: There is no such version.
            BrokenVersionError: It has no such file, or the stored bytes are gone or not those that were registered.
        """
        target = folder / self.model_name / version / name
        if sha256 and target.is_file() and _sha256(target) == sha256:
            return target
        info = self.version(version)
        if name not in info.files:
            there = ", ".join(info.files) or "none at all"
            raise BrokenVersionError(
                f"Model version {version} of {self.model_name!r} has no file {name!r}, only {there}"
            )
        # The cached file is checked too: a folder may outlive the database whose versions it was filled from.
        if not target.is_file() or _sha256(target) != info.files[name]:
            self._fetch(info, name, target)
        return target

    def _fetch(self, info: ModelVersionInfo, name: str, target: Path) -> None:
        client = open_client(self.tracking_uri)
        source = client.get_model_version(self.model_name, info.version).source
        path = f"{PurePosixPath(source).name}/{name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as temporary:
            remedy = f"Restore {path} of MLflow run {info.run_id}, or serve another version"
            for _attempt in range(2):  # a download that broke off unnoticed is no damage
                try:
                    fetched = Path(client.download_artifacts(info.run_id, path, temporary))
                except Exception as error:  # of whatever kind the artifact store raises
                    if _is_gone(client, info.run_id, path):
                        raise BrokenVersionError(
                            f"{name} of model version {info.version} of {self.model_name!r} is gone from the artifact "
                            f"store. {remedy}"
                        ) from error
                    raise
                if _sha256(fetched) == info.files[name]:
                    fetched.replace(target)
                    return
            raise BrokenVersionError(
                f"{name} of model version {info.version} of {self.model_name!r} is damaged: its bytes are not those "
                f"that were registered. {remedy}"
            )

    def _model(self, client: Any) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _first(self, run_id: str, checksums: Mapping[str, str]) -> ModelVersionInfo | None:
        """The oldest version with just these files of a run."""
        return next((v for v in self.versions() if v.run_id == run_id and v.files == checksums), None)

    def _ensure_model(self, client: Any) -> None:
        from mlflow.exceptions import MlflowException

        if self._model(client) is not None:
            return
        try:
            client.create_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise


def _info(entry: Any, aliases: Mapping[str, Any] | None = None) -> ModelVersionInfo:
    named = entry.aliases if aliases is None else [name for name, v in aliases.items() if str(v) == str(entry.version)]
    return ModelVersionInfo(
        version=str(entry.version),
        run_id=entry.run_id,
        created_at=dt.datetime.fromtimestamp(entry.creation_timestamp / 1000, dt.UTC),
        aliases=tuple(sorted(named)),
        tags=dict(entry.tags),
        files=json.loads(entry.tags.get(_FILES_TAG, "{}")),  # a version that was registered by hand names no files
    )


def _checked(name: str, path: Path) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(f"{name!r} is no name within a model version, such as weights/best.pt")
    if not path.is_file():
        raise FileNotFoundError(f"No file {path} to register as {name}")
    return path


def _is_gone(client: Any, run_id: str, path: str) -> bool:
    """Whether a file is missing beside others of its version; with none there the store may be out of reach."""
    folder = PurePosixPath(path).parts[0]
    listed = client.list_artifacts(run_id, str(PurePosixPath(path).parent))
    return bool(client.list_artifacts(run_id, folder)) and path not in {entry.path for entry in listed}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _encoded(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _upload(client: Any, run_id: str, files: Mapping[str, Path], folder: str) -> None:
    """One upload of a tree that carries the names of the version, since MLflow keeps a file's own name."""
    with tempfile.TemporaryDirectory(prefix="model-") as temporary:
        for name, path in files.items():
            copy = Path(temporary) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        client.log_artifacts(run_id, temporary, folder)
    sizes = dict(_stored(client, run_id, folder))
    for name, path in files.items():
        if sizes.get(f"{folder}/{name}") != path.stat().st_size:
            raise ModelRegistryError(
                f"MLflow has {sizes.get(f'{folder}/{name}', 'no')} bytes of {name} in run {run_id} after its upload, "
                f"not {path.stat().st_size}; nothing was registered. Look at MLflow's log and its store of artifacts"
            )


def _stored(client: Any, run_id: str, folder: str) -> Iterator[tuple[str, int]]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _stored(client, run_id, entry.path)
        else:
            yield entry.path, entry.file_size
