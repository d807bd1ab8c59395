"""The log endpoint of pods: tail, times, since and follow."""

import asyncio
import datetime as dt
from pathlib import Path

from aiohttp import web

from rehearsal.cluster.objects import ApiError, Object, ended

_FOLLOW_INTERVAL = 0.2


async def log_text(pod: Object, file: Path, query: dict[str, str], request: web.Request) -> web.StreamResponse:
    """Answer with the pod's log.

    Raises:
        ApiError: 400, where the container has not started or there is none of that name.
    """
    name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
    wanted = query.get("container") or container
    if wanted != container:
        raise ApiError(400, "BadRequest", f"container {wanted} is not valid for pod {name}")
    states = [status["state"] for status in pod["status"].get("containerStatuses") or []]
    if not file.exists():
        if states and "waiting" not in states[0]:
            return web.Response(text="")
        reason = states[0]["waiting"]["reason"] if states else "ContainerCreating"
        message = f'container "{container}" in pod "{name}" is waiting to start: {reason}'
        raise ApiError(400, "BadRequest", message)
    if query.get("follow") in ("true", "True", "1"):
        return await _follow(pod, file, query, request)
    return web.Response(text=_lines(file.read_text(errors="replace").splitlines(), query))


def _lines(lines: list[str], query: dict[str, str]) -> str:
    if query.get("sinceSeconds"):
        since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=float(query["sinceSeconds"]))
        lines = [line for line in lines if line.split(" ", 1)[0] >= since.strftime("%Y-%m-%dT%H:%M:%S")]
    if query.get("tailLines"):
        count = int(query["tailLines"])
        lines = lines[-count:] if count else []
    if query.get("timestamps") not in ("true", "True", "1"):
        lines = [line.partition(" ")[2] for line in lines]
    return "".join(f"{line}\n" for line in lines)


async def _follow(pod: Object, file: Path, query: dict[str, str], request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    shown = 0
    while True:
        last = ended(pod)
        lines = file.read_text(errors="replace").splitlines()
        text = _lines(lines[shown:], query if shown == 0 else {"timestamps": query.get("timestamps", "")})
        shown = len(lines)
        if text:
            await response.write(text.encode())
        if last:
            return response
        await asyncio.sleep(_FOLLOW_INTERVAL)
