"""The shapes of a pod's status while it waits, runs and ends."""

from rehearsal.cluster.objects import Object, now


def container_status(container: Object, state: Object, restarts: int = 0) -> Object:
    """One entry of `containerStatuses`; `state` has one key of waiting, running, terminated."""
    running = "running" in state
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": running,
        "started": running,
        "restartCount": restarts,
        "state": state,
        "lastState": {},
    }


def waiting(reason: str, message: str = "") -> Object:
    """State of a container that has not started."""
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running() -> Object:
    """State of a container that runs since now."""
    return {"running": {"startedAt": now()}}


def terminated(exit_code: int, reason: str, started: str | None, message: str = "") -> Object:
    """State of a container that has ended now."""
    ended = {"exitCode": exit_code, "reason": reason, "startedAt": started or now(), "finishedAt": now()}
    return {"terminated": ended | ({"message": message} if message else {})}


def set_state(pod: Object, state: Object, phase: str, restarts: int = 0, reason: str = "", message: str = "") -> None:
    """Write the container's state and the pod's phase."""
    status = pod["status"]
    status["phase"] = phase
    status["containerStatuses"] = [container_status(pod["spec"]["containers"][0], state, restarts)]
    status.setdefault("startTime", now())
    kept = [condition for condition in status.get("conditions", []) if condition["type"] == "PodScheduled"]
    ready = "True" if "running" in state else "False"
    status["conditions"] = [*kept, *({"type": kind, "status": ready} for kind in ("ContainersReady", "Ready"))]
    if reason:
        status["reason"] = reason
    if message:
        status["message"] = message


def started_at(pod: Object) -> str | None:
    """When the container that now runs was started."""
    statuses = pod["status"].get("containerStatuses") or [{}]
    started: str | None = statuses[0].get("state", {}).get("running", {}).get("startedAt")
    return started
