"""Runs pods that have a node: pulls, starts, watches, and reports how each one ends."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rehearsal.cluster import pod_status
from rehearsal.cluster.containers import ContainerMaker, image_name
from rehearsal.cluster.faults import Faults, PodFault
from rehearsal.cluster.objects import Object, ended
from rehearsal.cluster.pod_files import ConfigError, Volumes
from rehearsal.cluster.process import ContainerProcess
from rehearsal.cluster.quantities import cores_or_bytes
from rehearsal.cluster.records import PodRecord
from rehearsal.cluster.sandbox.main import SETUP_FAILED, Spec
from rehearsal.cluster.settings import Timing
from rehearsal.cluster.store import Store

KILLED = 137


@dataclass
class _Verdict:
    """How the pod's end is to be told where something outside the container caused it."""

    reason: str
    message: str = ""
    pod_reason: str = ""


@dataclass
class _Running:
    pod: Object
    record: PodRecord
    folder: Path
    task: asyncio.Task[None] | None = None
    process: ContainerProcess | None = None
    verdict: _Verdict | None = None
    restarts: int = 0


@dataclass(frozen=True)
class Callbacks:
    """What the kubelet tells: a pod has ended, a pod is to be drained, a node (by name) is to be lost."""

    ended: Callable[[Object], None]
    drain: Callable[[Object], None]
    node_lost: Callable[[str], None]


class Kubelet:
    """The pods of all nodes.

    Args:
        store: The objects.
        faults: What goes wrong.
        maker: Makes specifications of containers.
        credentials: Folder with the token of a pod's account, None where the pod gets none.
        folder: Where pods' files (`pods/`) and logs (`logs/`) are kept.
        timing: Intervals.
        callbacks: Told of ends and losses.
    """

    def __init__(
        self,
        store: Store,
        faults: Faults,
        maker: ContainerMaker,
        credentials: Callable[[Object], Path | None],
        folder: Path,
        timing: Timing,
        callbacks: Callbacks,
    ) -> None:
        self._store, self._faults, self._maker = store, faults, maker
        self._credentials, self._folder, self._timing = credentials, folder, timing
        self._running: dict[str, _Running] = {}
        self._pulled: set[tuple[str, str]] = set()
        self._callbacks = callbacks
        self._closing = False

    def start(self, pod: Object, record: PodRecord) -> None:
        """Begin with a pod that was given a node."""
        record.node, record.scheduled = pod["spec"]["nodeName"], time.time()
        record.log = str(self.log(pod["metadata"]["name"]))
        entry = _Running(pod, record, self._folder / "pods" / pod["metadata"]["uid"])
        entry.folder.mkdir(parents=True)
        self._running[pod["metadata"]["uid"]] = entry
        entry.task = asyncio.ensure_future(self._run(entry))

    def log(self, name: str) -> Path:
        """The log file of a pod."""
        return self._folder / "logs" / f"{name}.log"

    def pids(self) -> dict[str, int]:
        """Process ids by pod, of the pods that run."""
        return {
            entry.pod["metadata"]["name"]: entry.process.pid
            for entry in self._running.values()
            if entry.process is not None
        }

    def stop(self, pod: Object, grace: float) -> bool:
        """Ask a pod to end, and kill it when its grace is over; returns whether something of it still runs."""
        entry = self._running.get(pod["metadata"]["uid"])
        if entry is None or entry.task is None or entry.task.done():
            return False
        if entry.process is None:
            entry.task.cancel()
            self._close(entry, "Failed", "Deleted")
            return False
        entry.verdict = entry.verdict or _Verdict("Error", pod_reason="Deleted")
        if grace == 0:
            entry.process.kill()
            return True
        entry.process.terminate()
        asyncio.get_running_loop().call_later(grace, entry.process.kill)
        return True

    def break_off(self, pod: Object, reason: str) -> None:
        """Kill a pod with its node."""
        entry = self._running.get(pod["metadata"]["uid"])
        if entry is not None and entry.process is not None:
            entry.verdict = _Verdict("Error", pod_reason=reason)
            entry.process.kill()

    async def close(self) -> None:
        """Kill everything."""
        self._closing = True
        entries = list(self._running.values())
        for entry in entries:
            if entry.process is not None:
                entry.process.kill()
            elif entry.task is not None:
                entry.task.cancel()
        await asyncio.gather(*(entry.task for entry in entries if entry.task), return_exceptions=True)

    async def _run(self, entry: _Running) -> None:
        pod = entry.pod
        try:
            for container in pod["spec"].get("initContainers") or []:
                code = await self._run_once(entry, container)
                if code != 0:
                    self._finish(entry, code)
                    return
            while True:
                code = await self._run_once(entry, pod["spec"]["containers"][0])
                if not self._restarts(entry, code):
                    self._finish(entry, code)
                    return
                entry.restarts += 1
                self._set(entry, pod_status.waiting("CrashLoopBackOff", f"exit code {code}"), "Running")
                await asyncio.sleep(self._timing.restart)
        finally:
            Volumes(self._store, entry.folder, {}).remove()

    def _restarts(self, entry: _Running, code: int) -> bool:
        if (
            self._closing
            or entry.pod["metadata"].get("deletionTimestamp")
            or (entry.verdict and entry.verdict.pod_reason)
        ):
            return False
        policy = entry.pod["spec"].get("restartPolicy", "Always")
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    async def _run_once(self, entry: _Running, container: Object) -> int:
        self._set(entry, pod_status.waiting("ContainerCreating"), "Pending")
        await self._pull(entry, container)
        spec = await self._specification(entry, container)
        entry.verdict = None
        process = await ContainerProcess.start(spec, entry.folder, self.log(entry.pod["metadata"]["name"]))
        entry.process = process
        entry.record.started = time.time()
        if self._closing or entry.pod["metadata"].get("deletionTimestamp"):
            process.kill()  # deleted while it started
        self._set(entry, pod_status.running(), "Running")
        self._store.event(entry.pod, "Normal", "Started", f"Started container {container['name']}")
        watch = asyncio.ensure_future(self._watch(entry, process, container))
        try:
            return await process.wait()
        finally:
            watch.cancel()
            entry.record.first_line = entry.record.first_line or process.first_line
            entry.record.peak_memory = max(entry.record.peak_memory, process.peak_memory)
            entry.process = None

    async def _pull(self, entry: _Running, container: Object) -> None:
        """Wait until the image is there; one that nobody has is waited for until the pod is deleted."""
        name = entry.pod["metadata"]["name"]
        reference, began, backoff = container["image"], time.monotonic(), self._timing.pull_backoff
        while True:
            faults = self._faults.of_pod(entry.pod, "image_pull")
            fails = any(not fault.after or time.monotonic() - began < fault.after for fault in faults)
            image = self._maker.image(container)
            if image is not None and not fails:
                break
            message = f'failed to pull and unpack image "{reference}": not found'
            self._set(entry, pod_status.waiting("ErrImagePull", message), "Pending")
            self._store.event(entry.pod, "Warning", "Failed", f'Failed to pull image "{reference}": {message}')
            entry.record.reason = "ErrImagePull"
            await asyncio.sleep(min(1.0, backoff))
            waits = f'Back-off pulling image "{reference}"'
            self._set(entry, pod_status.waiting("ImagePullBackOff", waits), "Pending")
            self._store.event(entry.pod, "Normal", "BackOff", waits)
            entry.record.reason = "ImagePullBackOff"
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, self._timing.pull_backoff_most)
        entry.record.reason = ""
        at = (entry.pod["spec"]["nodeName"], image_name(reference))
        if at not in self._pulled:
            await asyncio.sleep(image.pull_seconds)
            self._pulled.add(at)
            self._store.event(entry.pod, "Normal", "Pulled", f'Successfully pulled image "{reference}" for {name}')

    async def _specification(self, entry: _Running, container: Object) -> Spec:
        """The container's specification; waits for ConfigMaps and Secrets that are not there."""
        while True:
            try:
                return self._maker.spec(entry.pod, container, entry.folder, self._credentials(entry.pod))
            except ConfigError as error:
                self._set(entry, pod_status.waiting("CreateContainerConfigError", str(error)), "Pending")
                self._store.event(entry.pod, "Warning", "Failed", f"Error: {error}")
                entry.record.reason = "CreateContainerConfigError"
                await asyncio.sleep(self._timing.restart)
                entry.record.reason = ""

    async def _watch(self, entry: _Running, process: ContainerProcess, container: Object) -> None:
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        most = cores_or_bytes(limit) if limit else None
        clocks: dict[int, float] = {}
        measured = 0.0
        while True:
            if time.monotonic() - measured >= self._timing.memory_watch:
                measured = time.monotonic()
                held = process.measure()
                entry.record.peak_memory = max(entry.record.peak_memory, process.peak_memory)
                if most is not None and held > most:
                    self._out_of_memory(entry, process)
            entry.record.first_line = entry.record.first_line or process.first_line
            for fault in self._faults.of_pod(entry.pod, "evict", "out_of_memory", "kill", "drain", "lose_node"):
                if self._is_due(entry, fault, clocks):
                    self._strike(entry, process, fault)
                    return
            await asyncio.sleep(self._timing.tick)

    def _is_due(self, entry: _Running, fault: PodFault, clocks: dict[int, float]) -> bool:
        if fault.when_logged and id(fault) not in clocks:
            log = self.log(entry.pod["metadata"]["name"])
            if not log.exists() or fault.when_logged not in log.read_text(errors="replace"):
                return False
        clock = clocks.setdefault(id(fault), time.monotonic())
        return time.monotonic() - clock >= fault.after

    def _strike(self, entry: _Running, process: ContainerProcess, fault: PodFault) -> None:
        entry.record.notes.append(f"fault: {fault.kind}")
        match fault.kind:
            case "evict":
                message = "The node was low on resource: memory."
                entry.verdict = _Verdict("Error", message, pod_reason="Evicted")
                self._store.event(entry.pod, "Warning", "Evicted", message)
                process.kill()
            case "out_of_memory":
                self._out_of_memory(entry, process)
            case "kill":
                process.kill_container()
            case "drain":
                self._callbacks.drain(entry.pod)
            case "lose_node":
                self._callbacks.node_lost(entry.pod["spec"]["nodeName"])

    def _out_of_memory(self, entry: _Running, process: ContainerProcess) -> None:
        entry.verdict = _Verdict("OOMKilled")
        process.kill_container()

    def _finish(self, entry: _Running, code: int) -> None:
        """Write down how the pod ended."""
        verdict = entry.verdict
        code = KILLED if verdict and verdict.reason == "OOMKilled" else code
        known = {0: "Completed", SETUP_FAILED: "StartError", SETUP_FAILED - 1: "ContainerCannotRun"}
        reason = verdict.reason if verdict else known.get(code, "Error")
        deleted = verdict is not None and verdict.pod_reason == "Deleted"
        phase = "Succeeded" if code == 0 and (verdict is None or deleted) else "Failed"
        state = pod_status.terminated(code, reason, pod_status.started_at(entry.pod))
        told = verdict.pod_reason if verdict and not deleted else ""
        entry.record.exit_code = code
        self._close(entry, phase, (verdict.pod_reason or reason) if verdict else ("" if code == 0 else reason))
        if not ended(entry.pod):
            message = verdict.message if verdict else ""
            self._set(entry, state, phase, reason=told, message=message)
        self._callbacks.ended(entry.pod)

    def _close(self, entry: _Running, phase: str, reason: str) -> None:
        entry.record.ended, entry.record.phase, entry.record.reason = time.time(), phase, reason
        self._running.pop(entry.pod["metadata"]["uid"], None)

    def _set(self, entry: _Running, state: Object, phase: str, reason: str = "", message: str = "") -> None:
        pod_status.set_state(entry.pod, state, phase, entry.restarts, reason, message)
        entry.record.phase = phase
        if self._store.exists(entry.pod["metadata"]["uid"]):
            self._store.touch(entry.pod)
