"""The faults that are tried, and how each must end; the list is the specification of the fault table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rehearsal.cluster.faults import ApiFault, PodFault, Selector

Fault = PodFault | ApiFault
WORKING = "the step is at work"
"""What the first asset prints when it has begun."""
VICTIM = "victim"
"""Label of the nodes that are lost; its value is the scenario."""
ONCE: Mapping[str, int] = {"first": 1, "second": 1}


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        name: Of the Dagster job that it is tried on.
        title: For people.
        faults: Made for the job's name.
        ends: Status of the last run of the group (the run and its retries).
        cause: What the event log of a run of the group must say, a regular expression.
        runs: How many runs the group has in the end.
        attempts: Pods that the first asset had in all.
        materialised: How often each asset was materialised, over the group.
        hold: Seconds that the first asset takes at its first attempt.
        act: What a person does once the first asset works.
        own_node: Whose pod runs on a node of its own.
        fast: Whether it belongs to the default test suite.
        deadline: Of the first asset's pods, seconds.
        seconds: The longest that it may take.
    """

    name: str
    title: str
    faults: Callable[[str], Sequence[Fault]]
    ends: Literal["SUCCESS", "FAILURE", "CANCELED"] = "SUCCESS"
    cause: str = ""
    runs: int = 1
    attempts: int = 1
    materialised: Mapping[str, int] = field(default_factory=lambda: dict(ONCE))
    hold: float = 0.0
    act: Literal["", "cancel"] = ""
    own_node: Literal["", "run", "step"] = ""
    fast: bool = False
    deadline: int = 120
    seconds: float = 400.0


def _step(kind: Any, **more: Any) -> Callable[[str], Sequence[Fault]]:
    """A fault of the first asset's first pod, once it works."""
    more.setdefault("when_logged", WORKING)
    return lambda job: [PodFault(kind, Selector(job=job, op="first"), **more)]


def _run(kind: Any, after: float = 2.0) -> Callable[[str], Sequence[Fault]]:
    """A fault of the first run pod, seconds after it has launched its first step."""
    return lambda job: [
        PodFault(kind, Selector(job=job, component="run_worker"), when_logged="in Kubernetes job", after=after)
    ]


def _api(status: Any, verb: str, resource: str, component: Any, **more: Any) -> Callable[[str], Sequence[Fault]]:
    return lambda job: [ApiFault(status, [verb], resource, where=Selector(job=job, component=component), **more)]


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("nothing", "none", lambda _: [], fast=True),
    Scenario(
        "step_evicted",
        "step pod evicted (node pressure)",
        _step("evict"),
        cause="failed health check: Discovered failed Kubernetes job",
        attempts=2,
        hold=120,
        fast=True,
    ),
    Scenario(
        "step_out_of_memory",
        "step killed for memory",
        _step("out_of_memory"),
        cause="failed health check: Discovered failed Kubernetes job",
        attempts=2,
        hold=120,
    ),
    Scenario(
        "step_drained",
        "step pod deleted (node drained)",
        _step("drain"),
        cause="STEP_UP_FOR_RETRY|interrupt|health check",
        attempts=2,
        hold=120,
    ),
    Scenario(
        "step_node_lost",
        "node of a step lost",
        _step("lose_node"),
        cause="failed health check",
        attempts=2,
        hold=120,
        own_node="step",
    ),
    Scenario(
        "step_hangs",
        "step hangs (deadline exceeded)",
        lambda _: [],
        cause="DagsterExecutionInterruptedError",  # the pod is asked to end, and the step says so itself
        attempts=2,
        hold=600,
        deadline=40,
    ),
    Scenario(
        "step_image_for_a_moment",
        "step's image cannot be pulled for 8 s",
        _step("image_pull", after=8.0, when_logged=""),
    ),
    Scenario(
        "step_image_never",
        "step's image cannot be pulled at all",
        _step("image_pull", when_logged="", count=None),
        ends="FAILURE",
        cause="failed health check: Discovered failed Kubernetes job",
        attempts=3,
        materialised={"first": 0, "second": 0},
        deadline=25,
    ),
    Scenario(
        "run_image_once",
        "run pod's image cannot be pulled",
        lambda job: [PodFault("image_pull", Selector(job=job, component="run_worker"))],
        cause="Run timed out due to taking longer than .* seconds to start",
        runs=2,
    ),
    Scenario(
        "create_500_twice",
        "API answers 500 twice when a step's Job is created",
        _api(500, "create", "jobs", "step_worker", count=2),
        fast=True,
    ),
    Scenario(
        "create_500_long",
        "API answers 500 for 40 s when a step's Job is created",
        _api(500, "create", "jobs", "step_worker", count=None, seconds=40),
        cause="Retry limit of 3 exceeded",
        runs=2,
    ),
    Scenario(
        "create_answer_lost",
        "a step's Job is created, but the answer is 503",
        _api(503, "create", "jobs", "step_worker", after_effect=True),
    ),
    Scenario(
        "create_reset",
        "connection cut when a step's Job is created",
        _api("reset", "create", "jobs", "step_worker", count=2),
    ),
    Scenario(
        "create_answer_cut",
        "a step's Job is created, but the connection is cut before the answer",
        _api("reset", "create", "jobs", "step_worker", after_effect=True),
        cause="AlreadyExists",  # dagster-k8s counts no cut connection as a try, and takes its own Job for a stranger's
        runs=2,
        attempts=2,
        hold=20,  # a step that ends before the run fails is not done again
    ),
    Scenario(
        "create_429",
        "API answers 429 when a step's Job is created",
        _api(429, "create", "jobs", "step_worker", retry_after=1),
        cause="429",
        runs=2,
        fast=True,
    ),
    Scenario(
        "launch_429",
        "API answers 429 when the run's Job is created",
        _api(429, "create", "jobs", "run_worker", retry_after=1),
        cause="429",
        runs=2,
    ),
    Scenario(
        "step_health_500",
        "API answers 500 for 15 s to health checks of a step",
        _api(500, "get", "jobs/status", "step_worker", count=None, seconds=15),
        hold=35,
    ),
    Scenario(
        "step_health_reset",
        "API cuts connections for 15 s at health checks of a step",
        _api("reset", "get", "jobs/status", "step_worker", count=None, seconds=15),
        cause="Error while checking health for step first",
        hold=35,
    ),
    Scenario(
        "run_health_429",
        "API answers 429 for 15 s to health checks of a run",
        _api(429, "get", "jobs/status", "run_worker", count=None, seconds=15),  # with Retry-After, urllib3 would wait
        hold=35,
    ),
    Scenario(
        "run_health_reset",
        "API cuts connections for 15 s at health checks of a run",
        _api("reset", "get", "jobs/status", "run_worker", count=None, seconds=15),
        hold=35,
    ),
    Scenario(
        "run_killed",
        "run pod killed for memory while a step works",
        _run("out_of_memory"),
        cause="Run has not completed but K8s job has no active pods",
        runs=2,
        attempts=2,
        hold=25,
        fast=True,
    ),
    Scenario(
        "run_evicted",
        "run pod evicted while a step works",
        _run("evict"),
        cause="Run has not completed but K8s job has no active pods",
        runs=2,
        attempts=2,
        hold=25,
    ),
    Scenario(
        "run_drained",
        "run pod deleted while a step works (node drained)",
        _run("drain", after=8.0),
        runs=2,
        attempts=2,
        hold=25,
    ),
    Scenario(
        "run_node_lost",
        "node of the run pod lost while a step works",
        _run("lose_node"),
        cause="Run has not completed but K8s job has no active pods",
        runs=2,
        attempts=2,
        hold=25,
        own_node="run",
    ),
    Scenario(
        "canceled",
        "run canceled by a person while a step works",
        lambda _: [],
        ends="CANCELED",
        materialised={"first": 0, "second": 0},
        hold=120,
        act="cancel",
        fast=True,
    ),
)


def scenario(name: str) -> Scenario:
    """One by name.

    Raises:
        KeyError: There is none.
    """
    return {each.name: each for each in SCENARIOS}[name]
