"""What must be so after the story, looked up where it must be: in PostgreSQL, in S3, and in the cluster."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from demo.state import State
from rehearsal.cluster.records import PodRecord
from rehearsal.deployment import Deployment
from rehearsal.pod_rules import violations
from rehearsal.step_pods import STEP_WORKER

TRAINING = "detector_weights"
GPU_IMAGE, CPU_IMAGE = "enclosure-catalog-gpu", "enclosure-catalog-cpu"


@dataclass
class Proofs:
    """What was found, in words.

    Attributes:
        found: What is so, with its figures.
        failures: What is not as it must be.
    """

    found: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def expect(self, holds: bool, so: str, otherwise: str) -> None:
        """Note one or the other."""
        if holds:
            self.found.append(so)
        else:
            self.failures.append(otherwise)


def prove(deployment: Deployment, state: State) -> Proofs:
    """Everything that a rehearsal claims."""
    proofs = Proofs()
    _postgresql(proofs, deployment, state)
    _object_store(proofs, deployment, state)
    _pages(proofs, deployment, state)
    steps = [record for record in deployment.cluster.records() if record.component == STEP_WORKER]
    _gpus(proofs, steps)
    _ended_well(proofs, steps)
    _pods_keep_the_rules(proofs, deployment)
    return proofs


def _postgresql(proofs: Proofs, deployment: Deployment, state: State) -> None:
    """The event log, MLflow's runs and the catalogue's rows."""
    events = _count(deployment, "dagster", "SELECT count(*) FROM event_logs")
    runs = _count(deployment, "dagster", "SELECT count(*) FROM runs")
    proofs.expect(
        events > 0 < runs, f"PostgreSQL holds {runs} runs with {events} events", "PostgreSQL holds no event log"
    )
    trainings = _count(deployment, "mlflow", "SELECT count(*) FROM runs")
    versions = _count(deployment, "mlflow", "SELECT count(*) FROM model_versions")
    decisions = state.table("champion_detector").height
    proofs.expect(
        versions >= decisions > 0 and trainings >= versions,
        f"PostgreSQL holds {trainings} MLflow runs and {versions} model versions",
        f"MLflow's database holds {trainings} runs and {versions} model versions for {decisions} decisions",
    )
    rows = _count(deployment, "catalog", f"SELECT count(*) FROM {state.use_case.name}_equipment_catalog")  # noqa: S608
    expected = state.table("equipment_catalog").height
    proofs.expect(
        rows == expected > 0,
        f"PostgreSQL holds the catalogue's {rows} rows",
        f"the catalogue's database holds {rows} rows, its table {expected}",
    )


def _object_store(proofs: Proofs, deployment: Deployment, state: State) -> None:
    """Originals and photos of every accepted upload, tables, dataset versions, model files."""
    accepted = state.table("raw_photos").filter(status="accepted").height
    for kind, least in {"originals": accepted, "photos": accepted, "tables": 10, "datasets": 1}.items():
        bucket, prefix = _place(f"{state.places.store}/{kind}/")
        keys = deployment.store.keys(bucket, prefix)
        proofs.expect(
            len(keys) >= least > 0,
            f"S3 holds {len(keys)} objects in {kind}/",
            f"S3 holds {len(keys)} objects in {kind}/, and {least} are needed",
        )
    bucket, prefix = _place(deployment.manifests.settings()["MLFLOW_ARTIFACTS_DESTINATION"])
    weights = [key for key in deployment.store.keys(bucket, prefix) if key.endswith((".onnx", ".pt"))]
    proofs.expect(bool(weights), f"S3 holds {len(weights)} files of weights", "S3 holds no weights of MLflow's runs")


def _pages(proofs: Proofs, deployment: Deployment, state: State) -> None:
    """The volume that the catalogue's pages are served from."""
    claim: Path = deployment.cluster.settings.claims["catalog-pages"]
    index = claim / state.use_case.name / "index.html"
    proofs.expect(index.exists(), f"The pages' volume holds {index.name}", f"no pages: {index} is not there")


def _gpus(proofs: Proofs, steps: Sequence[PodRecord]) -> None:
    """Training asks for a GPU and nothing else does; each runs in the image that is meant for it."""
    for record in steps:
        trains = record.op.split("__")[-1] == TRAINING
        if bool(record.gpus) != trains:
            proofs.failures.append(f"pod {record.pod} of {record.asset} asks for {record.gpus} GPUs")
        if (GPU_IMAGE if trains else CPU_IMAGE) not in record.image:
            proofs.failures.append(f"pod {record.pod} of {record.asset} runs in {record.image}")
    trainings = sum(bool(record.gpus) for record in steps)
    proofs.expect(
        trainings > 0,
        f"{trainings} of {len(steps)} step pods asked for a GPU: {TRAINING}",
        "no step pod asked for a GPU",
    )


def _ended_well(proofs: Proofs, steps: Sequence[PodRecord]) -> None:
    bad = [record for record in steps if record.phase != "Succeeded"]
    proofs.failures += [f"pod {record.pod} of {record.asset}: {record.phase} {record.reason}" for record in bad]


def _pods_keep_the_rules(proofs: Proofs, deployment: Deployment) -> None:
    """Every Job that Dagster made, held against the rules that rendered manifests are held against."""
    jobs = deployment.cluster.objects("Job")
    broken: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        name = job["metadata"]["name"]
        for line in violations(job["spec"]["template"]["spec"], name):
            broken[line.removeprefix(f"{name}: ")].append(name)
    proofs.failures += [f"{len(names)} Jobs, such as {names[0]}: {line}" for line, names in sorted(broken.items())]
    proofs.expect(bool(jobs), f"{len(jobs)} Jobs were held against the pod rules", "no Job is left to look at")


def _count(deployment: Deployment, database: str, query: str) -> int:
    ((count,),) = deployment.databases[database].rows(query)
    return int(str(count))


def _place(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.netloc, parts.path.lstrip("/")
