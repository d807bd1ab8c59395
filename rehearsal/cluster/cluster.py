"""The stand-in cluster: a Kubernetes API on loopback that runs pods as local processes, in a thread of its own.

with Cluster(settings) as cluster:
    cluster.apply(Path("rendered.yaml"))
    ... KUBECONFIG=cluster.kubeconfig() ...
"""

import asyncio
import copy
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import yaml
from aiohttp import web

from rehearsal.cluster.api import Api
from rehearsal.cluster.certificates import make_certificate
from rehearsal.cluster.containers import ContainerMaker
from rehearsal.cluster.credentials import Credentials
from rehearsal.cluster.faults import Faults
from rehearsal.cluster.garbage import Garbage
from rehearsal.cluster.isolation import isolation_possible
from rehearsal.cluster.jobs import JobController
from rehearsal.cluster.kubelet import Callbacks, Kubelet
from rehearsal.cluster.objects import BY_KIND, BY_PLURAL, ApiError, Object, labels_of
from rehearsal.cluster.rbac import Accounts
from rehearsal.cluster.records import PodRecord, record_of, write_lines
from rehearsal.cluster.scheduler import Scheduler, node_object
from rehearsal.cluster.settings import ClusterSettings, Node
from rehearsal.cluster.store import Store

T = TypeVar("T")
_STOP_SECONDS = 30.0
_LAST_ANSWERS_SECONDS = 0.3


class ClusterError(RuntimeError):
    """The cluster could not be started, or what was asked for cannot be had here."""


class Cluster:
    """A running cluster; a context manager. All methods may be called from any thread."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self.isolated = _isolated(settings)
        self.faults = Faults()
        self._store = Store()
        self._accounts = Accounts()
        self._records: dict[str, PodRecord] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in-cluster", daemon=True)
        self._crash: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._await(self._start())
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()
        if self._crash is not None and error is None:
            raise ClusterError("A controller of the stand-in cluster failed") from self._crash

    def kubeconfig(self, account: str | None = None) -> Path:
        """A kubeconfig file of a service account of the namespace, or of the administrator."""
        return self._on_loop(lambda: self._credentials.folder(account) / "kubeconfig")

    def apply(self, manifests: str | Path | Iterable[Mapping[str, Any]]) -> list[str]:
        """Store objects, replacing those that are there; returns `kind/name` of those of kinds that it does not know.

        Args:
            manifests: YAML text, a YAML file, or the objects.
        """
        if isinstance(manifests, Path):
            manifests = manifests.read_text()
        things = list(yaml.safe_load_all(manifests)) if isinstance(manifests, str) else list(manifests)
        return self._on_loop(lambda: [left for thing in things if thing for left in self._apply(dict(thing))])

    def create_pod(self, pod: Mapping[str, Any]) -> str:
        """Create a pod, as of a Deployment's template; returns its name."""
        resource = BY_KIND["Pod"]
        made = self._on_loop(lambda: self._api.create(dict(pod), resource, self.settings.namespace))
        return str(made["metadata"]["name"])

    def delete(self, kind: str, name: str, policy: str | None = None, grace: int | None = None) -> None:
        """Delete an object as a call of the API would.

        Raises:
            ApiError: 404.
        """
        namespace = self.settings.namespace if BY_KIND[kind].namespaced else ""
        self._on_loop(lambda: self._garbage.delete(self._store.get(kind, namespace, name), policy, grace))

    def lose_node(self, name: str) -> None:
        """Take a node away with all that runs on it."""
        self._on_loop(lambda: self._lose_node(name))

    def add_node(self, node: Node) -> None:
        """Add a node."""
        self._on_loop(lambda: self._store.create(node_object(node)))

    def objects(self, kind: str, **labels: str) -> list[Object]:
        """Copies of the objects of a kind, of those labels."""
        return self._on_loop(
            lambda: [
                copy.deepcopy(thing) for thing in self._store.every(kind) if labels.items() <= labels_of(thing).items()
            ]
        )

    def records(self) -> list[PodRecord]:
        """One record a pod that there ever was, in order of creation."""
        return self._on_loop(lambda: copy.deepcopy(list(self._records.values())))

    def write_records(self, path: Path) -> None:
        """The records as JSON lines."""
        write_lines(self.records(), path)

    def logs(self, pod: str) -> str:
        """A pod's log, each line with its time in front; also after the pod is gone."""
        file = self._log(pod)
        return file.read_text(errors="replace") if file.exists() else ""

    def processes(self) -> dict[str, int]:
        """Process ids of the pods that run, by pod."""
        return self._on_loop(self._kubelet.pids)

    async def _start(self) -> None:
        folder = self.settings.folder
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = make_certificate(folder / "certificates")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._make_parts(certificate)
        self._runner = web.AppRunner(self._api.application(), access_log=None, shutdown_timeout=_LAST_ANSWERS_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.settings.port, ssl_context=context)
        await site.start()
        address: tuple[str, int] = self._runner.addresses[0]
        self.port = self._credentials.port = address[1]
        self._kubelet = self._make_kubelet()
        for node in self.settings.nodes:
            self._store.create(node_object(node))
        self._ticking = asyncio.ensure_future(self._tick())

    def _make_parts(self, certificate: Path) -> None:
        self._credentials = Credentials(
            self.settings.folder / "accounts", self._accounts, self.settings.namespace, certificate
        )
        self._garbage = Garbage(self._store, self._stop_pod, self._before_removal)
        self._jobs = JobController(self._store, self._garbage.delete_pod, self._record)
        self._scheduler = Scheduler(self._store, self.faults, self._bound)
        self._api = Api(
            store=self._store,
            faults=self.faults,
            accounts=self._accounts,
            enforce=self.settings.enforce_rbac,
            delete=self._garbage.delete,
            created=self._created,
            log_of=self._log,
        )

    def _make_kubelet(self) -> Kubelet:
        self._maker = ContainerMaker(self._store, self.settings, self.isolated, self.port)
        callbacks = Callbacks(self._pod_ended, self._garbage.delete_pod, self._lose_node)
        places = self._credentials.of_pod, self.settings.folder, self.settings.timing
        return Kubelet(self._store, self.faults, self._maker, *places, callbacks)

    async def _stop(self) -> None:
        self._ticking.cancel()
        await self._kubelet.close()
        await self._runner.shutdown()
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # watches and hung calls
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            try:
                self._jobs.sync()
                self._scheduler.sync()
                self._garbage.sync()
            except Exception as error:  # noqa: BLE001 shown to the caller at the end, and the log at once
                self._crash = self._crash or error
                self._loop.call_exception_handler({"message": "a controller failed", "exception": error})
            await asyncio.sleep(self.settings.timing.tick)

    def _stop_pod(self, pod: Object, grace: float) -> bool:
        return self._kubelet.stop(pod, grace)

    def _before_removal(self, pod: Object) -> None:
        self._jobs.before_removal(pod)

    def _log(self, pod: str) -> Path:
        return self.settings.folder / "logs" / f"{pod}.log"

    def _created(self, thing: Object) -> None:
        if thing["kind"] == "Pod":
            self._record(thing, None)

    def _record(self, pod: Object, job: Object | None) -> None:
        enforced = self._maker.enforced(pod)
        self._records[pod["metadata"]["uid"]] = record_of(pod, job, enforced, time.time())

    def _bound(self, pod: Object) -> None:
        self._kubelet.start(pod, self._records[pod["metadata"]["uid"]])

    def _pod_ended(self, pod: Object) -> None:
        if pod["metadata"].get("deletionTimestamp") and self._store.exists(pod["metadata"]["uid"]):
            self._garbage.remove_pod(pod)

    def _lose_node(self, name: str) -> None:
        self._store.remove(self._store.get("Node", "", name))
        for pod in self._store.every("Pod"):
            if pod["spec"].get("nodeName") == name:
                self._kubelet.break_off(pod, "NodeLost")
                self._loop.call_later(self.settings.timing.node_lost, self._forget_pod, pod)

    def _forget_pod(self, pod: Object) -> None:
        if self._store.exists(pod["metadata"]["uid"]):
            self._garbage.delete_pod(pod, 0)

    def _apply(self, thing: Object) -> list[str]:
        group = thing["apiVersion"].rpartition("/")[0]
        resource = BY_KIND.get(thing["kind"])
        if resource is None or (group, resource.plural) not in BY_PLURAL:
            return [f"{thing['kind']}/{thing['metadata']['name']}"]
        namespace = thing["metadata"].get("namespace", self.settings.namespace) if resource.namespaced else ""
        known = self._store.find(resource.kind, namespace, thing["metadata"]["name"])
        if known is None:
            self._api.create(thing, resource, namespace)
        else:
            thing["metadata"] = {**thing["metadata"], "namespace": namespace}
            self._store.replace(known, thing)
        return []

    def _on_loop(self, work: Callable[[], T]) -> T:
        async def call() -> T:
            return work()

        return self._await(call())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_STOP_SECONDS)


def _isolated(settings: ClusterSettings) -> bool:
    if settings.isolation == "none":
        return False
    reason = isolation_possible()
    if reason and settings.isolation == "namespaces":
        raise ClusterError(f"Namespaces cannot be had here: {reason}")
    return not reason


__all__ = ["ApiError", "Cluster", "ClusterError"]
