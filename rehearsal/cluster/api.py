"""The Kubernetes API over HTTP: one handler for all kinds, with rights, faults, and `Status` errors."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from rehearsal.cluster.faults import ApiFault, Faults
from rehearsal.cluster.jobs import new_job
from rehearsal.cluster.label_selectors import matches_fields, matches_labels
from rehearsal.cluster.objects import BY_PLURAL, RESOURCES, ApiError, Object, Resource
from rehearsal.cluster.pod_logs import log_text
from rehearsal.cluster.rbac import Accounts, authorize
from rehearsal.cluster.store import Store
from rehearsal.cluster.validation import validate

Delete = Callable[[Object, str | None, int | None], None]
_FAULT_REASONS = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}


@dataclass(frozen=True)
class Call:
    """One request, taken apart."""

    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: dict[str, str]
    body: Any
    request: web.Request

    @property
    def target(self) -> str:
        """Plural with subresource, as RBAC names it."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


@dataclass(frozen=True)
class Api:
    """Handlers over the store; `delete` removes objects with all that follows, `log_of` gives a pod's log."""

    store: Store
    faults: Faults
    accounts: Accounts
    enforce: bool
    delete: Delete
    created: Callable[[Object], None]
    log_of: Callable[[str], Any]

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/version", _version)
        app.router.add_get("/readyz", _ready)
        app.router.add_get("/api/v1", self._discover)
        app.router.add_get("/apis/{group}/{version}", self._discover)
        rest = "/{plural}"
        for base in ("/api/v1", "/apis/{group}/{version}"):
            for scope in ("/namespaces/{namespace}", ""):
                for tail in ("", "/{name}", "/{name}/{subresource}"):
                    app.router.add_route("*", f"{base}{scope}{rest}{tail}", self._handle)
        return app

    async def _discover(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info.get("version", "v1")
        found = [resource for resource in RESOURCES if (resource.group, resource.version) == (group, version)]
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        entries = [
            {"name": resource.plural, "kind": resource.kind, "namespaced": resource.namespaced, "verbs": verbs}
            for resource in found
        ]
        together = f"{group}/{version}" if group else version
        return web.json_response({"kind": "APIResourceList", "groupVersion": together, "resources": entries})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            call = await _take_apart(request)
            if self.enforce:
                account = self.accounts.of_header(request.headers.get("Authorization", ""))
                place = (call.resource.group, call.target, call.namespace, call.name)
                authorize(self.store, account, call.verb, *place)
            fault = self.faults.of_call(call.verb, call.target, call.name, self._meant(call))
            if fault is not None:
                if fault.after_effect:
                    await self._answer(call)
                return await _fail(request, fault)
            return await self._answer(call)
        except ApiError as error:
            return web.json_response(error.status(), status=error.code)

    def _meant(self, call: Call) -> Object | None:
        if call.verb == "create":
            body: Object = call.body
            return body
        return self.store.find(call.resource.kind, call.namespace, call.name) if call.name else None

    async def _answer(self, call: Call) -> web.StreamResponse:
        verbs: dict[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
            "create": self._create,
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        return await verbs[call.verb](call)

    async def _create(self, call: Call) -> web.Response:
        if call.subresource == "eviction":
            self.delete(self.store.get("Pod", call.namespace, call.name), None, None)
            return web.json_response(_success(call), status=201)
        made = self.create(call.body, call.resource, call.namespace)
        return web.json_response(made, status=201)

    def create(self, body: Object, resource: Resource, namespace: str) -> Object:
        """Store a new object with what the server fills in.

        Raises:
            ApiError: It is not valid, or its name is taken.
        """
        thing = copy.deepcopy(body) | {"kind": resource.kind, "apiVersion": resource.api_version}
        thing.setdefault("metadata", {})
        if resource.namespaced:
            thing["metadata"]["namespace"] = namespace
        validate(thing)
        if thing["kind"] == "Job":
            new_job(thing)
        if thing["kind"] == "Pod":
            thing["status"] = {"phase": "Pending"}
        made = self.store.create(thing)
        self.created(made)
        return made

    async def _get(self, call: Call) -> web.StreamResponse:
        thing = self.store.get(call.resource.kind, call.namespace, call.name)
        if call.subresource == "log":
            return await log_text(thing, self.log_of(call.name), call.query, call.request)
        return web.json_response(thing)

    async def _list(self, call: Call) -> web.Response:
        selectors = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
        items = self.store.select(call.resource.kind, call.namespace, *selectors)
        kind = f"{call.resource.kind}List"
        head = {"kind": kind, "apiVersion": call.resource.api_version}
        return web.json_response(head | {"metadata": {"resourceVersion": self.store.version}, "items": items})

    async def _watch(self, call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        queue, end = self.store.watch()
        try:
            await response.prepare(call.request)
            for thing in [] if call.query.get("resourceVersion") else self._watched(call):
                await _tell(response, "ADDED", thing)
            timeout = float(call.query.get("timeoutSeconds") or 300)
            async with asyncio.timeout(timeout):
                while True:
                    event, thing = await queue.get()
                    if thing["kind"] == call.resource.kind and self._wants(call, thing):
                        await _tell(response, event, thing)
        except (TimeoutError, ConnectionResetError):
            pass  # the end of a watch, from either side
        finally:
            end()
        return response

    def _watched(self, call: Call) -> list[Object]:
        return [thing for thing in self.store.select(call.resource.kind, call.namespace) if self._wants(call, thing)]

    def _wants(self, call: Call, thing: Object) -> bool:
        within = not call.namespace or thing["metadata"].get("namespace") == call.namespace
        labels, fields = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
        return within and matches_labels(thing, labels) and matches_fields(thing, fields)

    async def _update(self, call: Call) -> web.Response:
        old = self.store.get(call.resource.kind, call.namespace, call.name)
        return web.json_response(self.store.replace(old, call.body))

    async def _patch(self, call: Call) -> web.Response:
        old = self.store.get(call.resource.kind, call.namespace, call.name)
        return web.json_response(self.store.replace(old, _merged(old, call.body)))

    async def _delete(self, call: Call) -> web.Response:
        thing = self.store.get(call.resource.kind, call.namespace, call.name)
        self.delete(thing, *_options(call))
        left = self.store.find(call.resource.kind, call.namespace, call.name)
        return web.json_response(left if left is not None else _success(call))

    async def _delete_collection(self, call: Call) -> web.Response:
        selectors = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
        for thing in self.store.select(call.resource.kind, call.namespace, *selectors):
            self.delete(thing, *_options(call))
        return web.json_response(_success(call))


async def _take_apart(request: web.Request) -> Call:
    match = request.match_info
    resource = BY_PLURAL.get((match.get("group", ""), match["plural"]))
    if resource is None:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    name, subresource = match.get("name", ""), match.get("subresource", "")
    query = dict(request.query)
    reads = "get" if name else ("watch" if query.get("watch") in ("1", "true", "True") else "list")
    verbs = {"GET": reads, "POST": "create", "PUT": "update", "PATCH": "patch"}
    verb = verbs.get(request.method, "delete" if name else "deletecollection")
    text = await request.text()
    try:
        body = json.loads(text) if text else {}
    except json.JSONDecodeError as error:
        raise ApiError(400, "BadRequest", f"the body is not JSON: {error}") from error
    return Call(verb, resource, match.get("namespace", ""), name, subresource, query, body, request)


def _options(call: Call) -> tuple[str | None, int | None]:
    """Propagation policy and grace, which come in the body or the query."""
    body = call.body if isinstance(call.body, dict) else {}
    grace = body.get("gracePeriodSeconds", call.query.get("gracePeriodSeconds"))
    policy = body.get("propagationPolicy") or call.query.get("propagationPolicy")
    return policy, None if grace is None else int(grace)


def _success(call: Call) -> Object:
    details = {"name": call.name, "group": call.resource.group, "kind": call.resource.plural}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _merged(old: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


async def _fail(request: web.Request, fault: ApiFault) -> web.StreamResponse:
    if fault.status == "hang":
        await asyncio.sleep(fault.seconds or 60.0)
    if isinstance(fault.status, str):
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # to nobody
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    error = ApiError(fault.status, _FAULT_REASONS.get(fault.status, "Unknown"), "a fault on demand")
    return web.json_response(error.status(), status=fault.status, headers=headers)


async def _tell(response: web.StreamResponse, event: str, thing: Object) -> None:
    await response.write(json.dumps({"type": event, "object": thing}).encode() + b"\n")


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"major": "1", "minor": "33", "gitVersion": "v1.33.0-stand-in"})


async def _ready(_: web.Request) -> web.Response:
    return web.Response(text="ok")
