"""A small HTTP server that answers as Label Studio 1.23 does, as far as the project asks, and fails where told to.

`tests/labelling/test_label_studio_server.py` holds the same against the real one.
"""

import datetime as dt
import itertools
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

Fault = Literal["500", "reset", "500 after", "reset after"]
"""An error or a closed connection instead of the work, or after it."""

Json = dict[str, Any]
TOKEN = "a-legacy-token"  # noqa: S105 - of a server that the test starts


class LabelStudioDouble:
    """Keeps projects and tasks in memory; `fault` is asked with the number of each request, from 1 on."""

    def __init__(self) -> None:
        self.projects: dict[int, Json] = {}
        self.storages: list[Json] = []
        self.tasks: dict[int, Json] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault: Callable[[int, str, str], Fault | None] = lambda number, method, path: None
        self._ids = itertools.count(1)
        self._moment = dt.datetime(2026, 11, 20, 8, tzinfo=dt.UTC)
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"double": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.started_anew()

    def __enter__(self) -> "LabelStudioDouble":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    # -- what a test does -----------------------------------------------------------------------------------------

    def started_anew(self) -> None:
        """A server with an empty database, whose numbers begin again."""
        self.projects, self.storages, self.tasks, self._ids = {}, [], {}, itertools.count(1)

    def annotate(self, task_id: int, result: list[Json], **more: Any) -> Json:
        annotation = {
            "id": next(self._ids),
            "result": result,
            "completed_by": 1,
            "was_cancelled": False,
            "created_at": self.now(),
            "lead_time": 3.5,
            **more,
        }
        annotation["updated_at"] = annotation["created_at"]
        self._touched(task_id)["annotations"].append(annotation)
        return annotation

    def change(self, task_id: int, annotation_id: int, result: list[Json]) -> None:
        for annotation in self._touched(task_id)["annotations"]:
            if annotation["id"] == annotation_id:
                annotation |= {"result": result, "updated_at": self.now()}

    def withdraw(self, task_id: int, annotation_id: int) -> None:
        task = self._touched(task_id)
        task["annotations"] = [each for each in task["annotations"] if each["id"] != annotation_id]

    def draft(self, task_id: int, result: list[Json]) -> None:
        self._touched(task_id)["drafts"].append({"id": next(self._ids), "result": result})

    def by_photo(self) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = {}
        for task in self.tasks.values():
            found.setdefault(str(task["data"].get("photo_id")), []).append(task)
        return found

    def now(self) -> str:
        self._moment += dt.timedelta(seconds=1)
        return self._moment.isoformat()

    def _touched(self, task_id: int) -> Json:
        self.tasks[task_id]["updated_at"] = self.now()
        return self.tasks[task_id]

    # -- what it answers ------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        match method, parts:
            case "GET", ["api", "projects"]:
                named = [p for p in self.projects.values() if query.get("title", [""])[0] in p["title"]]
                return 200, {"count": len(named), "next": None, "results": [self._counted(p) for p in named]}
            case "POST", ["api", "projects"]:
                number = next(self._ids)
                self.projects[number] = {"model_version": None, **body, "id": number, "created_at": self.now()}
                return 201, self._counted(self.projects[number])
            case "GET", ["api", "projects", number]:
                return 200, self._counted(self.projects[int(number)])
            case "PATCH", ["api", "projects", number]:
                self.projects[int(number)] |= body
                return 200, self._counted(self.projects[int(number)])
            case "POST", ["api", "projects", number, "import"]:
                return 201, {"task_ids": [self._add(int(number), task) for task in body]}
        return self._answer(method, parts, query, body)

    def _answer(self, method: str, parts: list[str], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["api", "storages", "localfiles"]:
                return 200, self.storages
            case "POST", ["api", "storages", "localfiles"]:
                self.storages.append({**body, "id": next(self._ids)})
                return 201, self.storages[-1]
            case "GET", ["api", "tasks"]:
                return self._list(query)
            case _, ["api", "tasks", number]:
                return self._task(method, int(number), body)
            case "POST", ["api", "predictions"]:
                return 201, self._predict(self.tasks[int(body["task"])], body)
            case "DELETE", ["api", "predictions", number]:
                for task in self.tasks.values():
                    task["predictions"] = [each for each in task["predictions"] if each["id"] != int(number)]
                return 204, None
        raise AssertionError(f"nobody asks for {method} {parts}")

    def _counted(self, project: Json) -> Json:
        return project | {"task_number": sum(task["project"] == project["id"] for task in self.tasks.values())}

    def _add(self, project: int, task: Json) -> int:
        number = next(self._ids)
        stamp = self.now()
        self.tasks[number] = {
            "id": number,
            "project": project,
            "data": task["data"],
            "created_at": stamp,
            "updated_at": stamp,
            "annotations": [],
            "drafts": [],
            "predictions": [],
        }
        for prediction in task.get("predictions", []):
            self._predict(self.tasks[number], prediction)
        return number

    def _predict(self, task: Json, prediction: Json) -> Json:
        offered = set(re.findall(r'Label value="([^"]*)"', self.projects[task["project"]]["label_config"]))
        for region in prediction["result"]:
            assert set(region["value"]["rectanglelabels"]) <= offered, "the page does not offer what is suggested"
        made = {**prediction, "id": next(self._ids)}
        task["predictions"].append(made)
        task["updated_at"] = self.now()
        return made

    def _task(self, method: str, number: int, body: Any) -> tuple[int, Any]:
        if number not in self.tasks:
            return 404, {"detail": "Not found."}
        if method == "DELETE":
            return 204, self.tasks.pop(number) and None
        if method == "PATCH":
            self._touched(number)["data"] = body["data"]
        return 200, self.tasks[number]

    def _list(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        wanted = json.loads(query["query"][0])
        tasks = [task for task in self.tasks.values() if str(task["project"]) == query["project"][0]]
        for item in wanted.get("filters", {"items": []})["items"]:
            since = dt.datetime.fromisoformat(item["value"])
            tasks = [task for task in tasks if dt.datetime.fromisoformat(task["updated_at"]) >= since]
        (order,) = wanted["ordering"]
        tasks.sort(key=lambda task: task[order.rpartition(":")[2]], reverse=order.startswith("-"))
        page, size = int(query["page"][0]), int(query["page_size"][0])
        found = tasks[(page - 1) * size : page * size]
        if page > 1 and not found:
            return 404, {"detail": "Invalid page."}
        return 200, {"tasks": found, "total": len(tasks), "total_annotations": 0, "total_predictions": 0}

    def choose(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.asked.append((method, path))
            return self.fault(len(self.asked), method, path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet, or each answer waits 40 ms for an acknowledgement
    double: LabelStudioDouble

    def _any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path)
        fault = self.double.choose(self.command, address.path)
        if fault == "reset":
            self.close_connection = True
            return
        if fault == "500":
            self._send(500, {"detail": "out of order"})
            return
        if self.headers["Authorization"] != f"Token {TOKEN}":
            self._send(401, {"detail": "Invalid token."})
            return
        body = json.loads(raw) if raw else None
        status, content = self.double.answer(self.command, address.path, parse_qs(address.query), body)
        if fault == "reset after":
            self.close_connection = True
        elif fault == "500 after":
            self._send(500, {"detail": "out of order"})
        else:
            self._send(status, content)

    def _send(self, status: int, content: Any) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815 - the names that http.server asks for

    def log_message(self, *args: Any) -> None:
        pass
