"""The Label Studio server: one project a use case, its tasks, their pre-annotations and annotations, through its SDK.

What a task should say, and what becomes of its annotations, belongs in `mlops_assets/labelling`.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from label_studio_sdk.base_client import LabelStudioBase

PREDICTION_VERSION = "champion"
"""Model version of every pre-annotation: Label Studio shows those of one version only, and which one is a setting of
the project. A champion's own version is in the task's data."""

PAGE = 100
"""Tasks a request."""

Task = dict[str, Any]
"""A task as the API gives it: id, data, annotations, drafts, predictions, created_at, updated_at (ISO 8601) ..."""


class LabelStudioError(RuntimeError):
    """Label Studio refuses a request; the message says what to do."""


class LabelStudioUnavailableError(LabelStudioError):
    """Label Studio does not answer, or not now: the same request may succeed later."""


@dataclass(frozen=True)
class Project:
    """What of a project tells whether something happened in it.

    Attributes:
        project_id: Number in this server.
        created_at: ISO 8601; with the number it tells a project from one of a server that began anew.
        tasks: How many it has.
    """

    project_id: int
    created_at: str
    label_config: str
    model_version: str
    tasks: int


@dataclass(frozen=True)
class LabelStudio:
    """One use case's project in a Label Studio server; every method asks the server.

    All of them raise LabelStudioUnavailableError where it does not answer and LabelStudioError where it refuses.

    Attributes:
        url: Address of the server, such as http://127.0.0.1:8080.
        token: Of a user who may change the project: a personal access token, or a legacy one.
        title: Of the project.
        photos: Folder or s3:// address of the normalised photos; nothing else is shown to the server.
        document_root: The server's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, for photos in a folder.
        s3_endpoint: Object store as browsers reach it; empty: AWS.
        timeout_seconds: Of one request.
    """

    url: str
    token: str = field(repr=False)
    title: str
    photos: str
    document_root: str = ""
    s3_endpoint: str = ""
    timeout_seconds: float = 30.0

    def find_project(self) -> Project | None:
        """The project by its title, which is ours; the oldest, where there are several."""
        with self._asked() as client:
            pages = client.projects.list(title=self.title, page_size=PAGE)
            found = [project for project in pages.items or [] if project.title == self.title]
        return _project(min(found, key=lambda project: project.id)) if found else None

    def create_project(self, label_config: str, description: str) -> Project:
        """Make the project, with its access to the normalised photos."""
        with self._asked() as client:
            created = client.projects.create(
                title=self.title,
                description=description,
                label_config=label_config,
                show_collab_predictions=True,
                enable_empty_annotation=True,
            )
            return _project(client.projects.get(id=created.id))

    def grant_photos(self, project_id: int) -> None:
        """Let the project show the normalised photos, once; the server reads them with its own rights.

        Raises:
            LabelStudioError: Among others where the folder is outside of the server's document root.
        """
        with self._asked() as client:
            if "://" not in self.photos:
                known = client.import_storage.local.list(project=project_id)
                if self.photos not in {storage.path for storage in known}:
                    client.import_storage.local.create(
                        project=project_id, path=self.photos, title="normalised photos", use_blob_urls=True
                    )
                return
            bucket, prefix = urlsplit(self.photos).netloc, urlsplit(self.photos).path.strip("/")
            stores = client.import_storage.s3.list(project=project_id)
            if (bucket, prefix) not in {(storage.bucket, storage.prefix) for storage in stores}:
                client.import_storage.s3.create(
                    project=project_id,
                    bucket=bucket,
                    prefix=prefix,
                    title="normalised photos",
                    use_blob_urls=True,
                    presign=True,
                    presign_ttl=60,
                    s3endpoint=self.s3_endpoint or None,
                )

    def photo_address(self, photo_id: str) -> str:
        """What a task's data name as its picture: the server turns it into an address for the annotator's browser.

        Raises:
            LabelStudioError: The photos lie outside of what the server may read.
        """
        name = f"{photo_id[:2]}/{photo_id}.jpg"
        if "://" in self.photos:
            return f"{self.photos.rstrip('/')}/{name}"
        if not Path(self.photos).is_relative_to(self.document_root):
            raise LabelStudioError(
                f"Label Studio reads below {self.document_root} and the photos are in {self.photos}: set its "
                "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT and MLOPS_LABEL_STUDIO_DOCUMENT_ROOT to a folder above it"
            )
        relative = Path(self.photos).relative_to(self.document_root)
        return f"/data/local-files/?d={quote(f'{relative}/{name}')}"

    def configure(self, project_id: int, **changes: str) -> None:
        """Change settings of the project: label_config, model_version."""
        with self._asked() as client:
            client.projects.update(id=project_id, **changes)

    def newest_change(self, project_id: int) -> str:
        """When a task was last changed, ISO 8601, by itself, its annotations or pre-annotations; "" without tasks."""
        found = self._page(project_id, {"ordering": ["-tasks:updated_at"]}, page=1, size=1, fields="task_only")
        return str(found[0]["updated_at"]) if found else ""

    def tasks(self, project_id: int, since: dt.datetime | None = None) -> Iterator[Task]:
        """Tasks with annotations, drafts and predictions; of those changed since then, or all, by number.

        In this order annotators at work move no task from one page to another.
        """
        query: dict[str, Any] = {"ordering": ["tasks:id"]}
        if since is not None:
            stamp = since.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            changed = {
                "filter": "filter:tasks:updated_at",
                "operator": "greater_or_equal",
                "type": "Datetime",
                "value": stamp,
            }
            query["filters"] = {"conjunction": "and", "items": [changed]}
        page, seen = 1, set[int]()
        while True:
            found = self._page(project_id, query, page=page, size=PAGE, fields="all")
            yield from (task for task in found if task["id"] not in seen)
            seen |= {task["id"] for task in found}
            if len(found) < PAGE:
                return
            page += 1

    def task(self, task_id: int) -> Task | None:
        """One task, or None where there is none of that number."""
        with self._asked(missing_is_none=True) as client:
            return _plain(client.tasks.get(id=str(task_id)))
        return None

    def add_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Add tasks, each with `data` and `predictions`, in one request."""
        with self._asked() as client:
            client.projects.import_tasks(id=project_id, request=list(tasks), return_task_ids=True)

    def change_task(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace a task's data."""
        with self._asked() as client:
            client.tasks.update(id=str(task_id), data=dict(data))

    def replace_predictions(self, task_id: int, old: Sequence[int], prediction: Mapping[str, Any] | None) -> None:
        """Give a task another pre-annotation, or none."""
        for prediction_id in old:
            with self._asked(missing_is_none=True) as client:
                client.predictions.delete(id=prediction_id)
        if prediction is not None:
            with self._asked() as client:
                client.predictions.create(task=task_id, **prediction)

    def delete_task(self, task_id: int) -> None:
        """Delete a task with all that belongs to it; one that is gone already is no error."""
        with self._asked(missing_is_none=True) as client:
            client.tasks.delete(id=str(task_id))

    def _page(self, project_id: int, query: Mapping[str, Any], *, page: int, size: int, fields: str) -> list[Task]:
        # Page by page by hand: the SDK's iterator asks for the page after the last one, which is an error (2.1.2).
        with self._asked(missing_is_none=page > 1) as client:
            found = client.tasks.list(
                project=project_id,
                query=json.dumps(query),
                page=page,
                page_size=size,
                fields=fields,
                resolve_uri=False,
            )
            return [_plain(task) for task in found.items or []]
        return []

    @contextmanager
    def _asked(self, *, missing_is_none: bool = False) -> Iterator["LabelStudioBase"]:
        """A client whose errors are ours; with `missing_is_none` the block is left where the server says 404.

        The SDK's errors are not chained: they quote headers, and with them a session's cookie.
        """
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        try:
            yield self._client
        except httpx.HTTPError as error:
            raise LabelStudioUnavailableError(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}): is it running?"
            ) from None
        except ApiError as error:
            if error.status_code == 404 and missing_is_none:
                return
            raise _refusal(self.url, error.status_code, error.body) from None

    @cached_property
    def _client(self) -> "LabelStudioBase":
        # The client without the SDK's extensions, which import pandas, faker and others: 0.5 s instead of 2.8.
        from label_studio_sdk.base_client import LabelStudioBase

        # No retries of its own: a request that was carried out but not answered must not be carried out twice.
        return LabelStudioBase(base_url=self.url, api_key=self.token, timeout=self.timeout_seconds, max_retries=0)


def _refusal(url: str, status: int | None, body: object) -> LabelStudioError:
    said = str(body.get("detail") or body if isinstance(body, dict) else body)[:500]
    if status is None or status >= 500 or status in (408, 429) or (200 <= status < 300):
        return LabelStudioUnavailableError(f"Label Studio at {url} fails with status {status}: {said}")
    if status == 401:
        return LabelStudioError(
            f"Label Studio at {url} refuses the token: set MLOPS_LABEL_STUDIO_TOKEN to one of a user who may change "
            f"projects; a legacy token must be allowed there. It says: {said}"
        )
    return LabelStudioError(f"Label Studio at {url} refuses a request with status {status}: {said}")


def _project(found: Any) -> Project:
    return Project(
        project_id=found.id,
        created_at=str(found.created_at),
        label_config=found.label_config or "",
        model_version=found.model_version or "",
        tasks=int(found.task_number or 0),
    )


def _plain(model: Any) -> Task:
    task: Task = json.loads(model.json())
    return task
