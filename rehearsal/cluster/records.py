"""What every pod asked for, where it ran, and how it ended; one line a pod."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rehearsal.cluster.objects import Object, labels_of
from rehearsal.cluster.quantities import cores_or_bytes

_STEP_ATTEMPT = re.compile(r"^dagster-step-[0-9a-f]+-(\d+)(?:-|$)")
_RUN_ATTEMPT = re.compile(r"^dagster-run-[0-9a-f-]{36}-(\d+)(?:-|$)")


def attempt_of(thing: Object) -> int:
    """Which attempt of its step or run a Job or pod of Dagster is, from 1; 1 for anything else."""
    name = labels_of(thing).get("job-name") or thing["metadata"].get("name", "")
    found = _STEP_ATTEMPT.match(name) or _RUN_ATTEMPT.match(name)
    return 1 + int(found.group(1)) if found else 1


@dataclass
class PodRecord:
    """One pod; times are seconds since the epoch, None: not reached. Quantities stand as they were asked for."""

    pod: str
    job: str
    component: str
    op: str
    dagster_job: str
    run_id: str
    attempt: int
    image: str
    requests: dict[str, str]
    limits: dict[str, str]
    account: str
    token_mounted: bool
    node_selector: dict[str, str]
    tolerations: list[Object]
    affinity: Object
    volumes: list[str]
    mounts: dict[str, str]
    security: Object
    deadline_seconds: int | None
    enforced: list[str]
    created: float
    node: str = ""
    scheduled: float | None = None
    started: float | None = None
    first_line: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    phase: str = "Pending"
    reason: str = ""
    peak_memory: int = 0
    """Bytes, the most that was seen."""
    log: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From the container's start to its end, 0 where either is missing."""
        return self.ended - self.started if self.ended and self.started else 0.0

    @property
    def gpus(self) -> int:
        """GPUs asked for, of any vendor."""
        return int(sum(cores_or_bytes(value) for name, value in self.limits.items() if "/" in name))

    @property
    def asset(self) -> str:
        """The step's asset as `use_case/asset`, where the op is named so."""
        return self.op.replace("__", "/")


def record_of(pod: Object, job: Object | None, enforced: list[str], created: float) -> PodRecord:
    """What a new pod asks for."""
    spec, labels = pod["spec"], labels_of(pod)
    container = spec["containers"][0]
    resources = container.get("resources") or {}
    account = spec.get("serviceAccountName", "default")
    return PodRecord(
        pod=pod["metadata"]["name"],
        job=job["metadata"]["name"] if job else "",
        component=labels.get("app.kubernetes.io/component", ""),
        op=labels.get("dagster/op", ""),
        dagster_job=labels.get("dagster/job", ""),
        run_id=labels.get("dagster/run-id", ""),
        attempt=attempt_of(pod),
        image=container["image"],
        requests={name: str(value) for name, value in (resources.get("requests") or {}).items()},
        limits={name: str(value) for name, value in (resources.get("limits") or {}).items()},
        account=account,
        token_mounted=spec.get("automountServiceAccountToken", True),
        node_selector=spec.get("nodeSelector") or {},
        tolerations=spec.get("tolerations") or [],
        affinity=spec.get("affinity") or {},
        volumes=[f"{volume['name']}:{_source(volume)}" for volume in spec.get("volumes") or []],
        mounts={mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts") or []},
        security={"pod": spec.get("securityContext") or {}, "container": container.get("securityContext") or {}},
        deadline_seconds=(job or {}).get("spec", {}).get("activeDeadlineSeconds"),
        enforced=enforced,
        created=created,
    )


def _source(volume: Object) -> str:
    return next((kind for kind in volume if kind != "name"), "")


def write_lines(records: Iterable[PodRecord], path: Path) -> None:
    """One JSON object a line, with `seconds`, `gpus` and `asset`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for record in records:
            derived = {"seconds": round(record.seconds, 3), "gpus": record.gpus, "asset": record.asset}
            file.write(json.dumps(asdict(record) | derived) + "\n")


def read_lines(path: Path) -> list[PodRecord]:
    """What `write_lines` wrote."""
    fields = [json.loads(line) for line in path.read_text().splitlines()]
    return [PodRecord(**{key: row[key] for key in PodRecord.__dataclass_fields__}) for row in fields]


def table(records: Iterable[PodRecord]) -> str:
    """The records as aligned text, one pod a line."""
    head = ("pod of", "attempt", "image", "node", "cpu", "memory", "gpu", "account", "seconds", "peak MiB", "end")
    rows = [head, *(_row(record) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _row(record: PodRecord) -> tuple[str, ...]:
    return (
        record.asset or f"run {record.run_id[:8]}",
        str(record.attempt),
        record.image.rsplit("/", 1)[-1],
        record.node,
        f"{record.requests.get('cpu', '-')}/{record.limits.get('cpu', '-')}",
        f"{record.requests.get('memory', '-')}/{record.limits.get('memory', '-')}",
        str(record.gpus),
        record.account,
        f"{record.seconds:.1f}",
        str(record.peak_memory >> 20),
        record.phase + (f" {record.reason}" if record.reason else ""),
    )
