"""The gate that candidates must pass: twenty that are worse in one way each, and five that are better.

All go through what the assets call: the registry of MLflow (SQLite), `soundness.faults`, `judging.judge` on val and
test, `judging.decide_on`, `deciding.Desk`. Trained models stay in bench-output, to be taken again.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.gate_faults import Fault, all_faults
from benchmarks.gate_models import THREADS, Model, train_all
from benchmarks.gate_photos import RenderedSet, rendered_set
from mlops_assets.detector.deciding import Desk, Order
from mlops_assets.detector.decisions import failed_criteria
from mlops_assets.detector.judging import Judged, decide_on, judge
from mlops_assets.detector.schema import CHAMPION_DETECTOR, DETECTOR_EVALUATION
from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS
from mlops_assets.detector.snapshot_predictions import SnapshotPredictions
from mlops_assets.detector.soundness import faults
from mlops_assets.use_case import InventoryRules, PromotionRules
from resources.mlflow_client import ensure_experiment, open_client
from resources.model_registry import ModelRegistry

KEPT = Path("bench-output") / "gate"
ENCLOSURES = {"train": 60, "val": 12, "test": 44}
SEED = 11


@dataclass(frozen=True)
class _Verdict:
    name: str
    promoted: bool
    map50: float | None
    reasons: Sequence[str]


def run() -> dict[str, float]:
    """Prints a line a candidate: its mAP50 on test, whether it was promoted, what failed, whether that is the cause."""
    labelled = rendered_set(KEPT / "photos", seed=SEED, enclosures=ENCLOSURES)
    print(labelled.sentence(), flush=True)
    champion, better = train_all(labelled, KEPT / "models")
    with tempfile.TemporaryDirectory() as folder:
        gate = _Gate(labelled, champion, Path(folder))
        print(f"champion: mAP50 {gate.champion.figures()['test_map50']:.3f}", flush=True)
        named = []
        worse = []
        for number, fault in enumerate(all_faults(labelled, champion, better[0])):
            verdict = gate.decide(fault, Path(folder) / f"fault-{number}")
            worse.append(verdict)
            named.append(not verdict.promoted and fault.names_cause(verdict.reasons))
            print(_line(verdict, "cause named" if named[-1] else "CAUSE NOT NAMED"), flush=True)
        good = []
        for number, model in enumerate(better):
            fault = Fault(f"trained further, {number + 1}", lambda _: False, lambda _folder, model=model: model)  # type: ignore[misc]
            good.append(gate.decide(fault, Path(folder) / f"better-{number}"))
            print(_line(good[-1], ""), flush=True)
    return {
        "worse": float(len(worse)),
        "worse_promoted": float(sum(verdict.promoted for verdict in worse)),
        "causes_named": float(sum(named)),
        "better": float(len(good)),
        "better_promoted": float(sum(verdict.promoted for verdict in good)),
    }


def _line(verdict: _Verdict, note: str) -> str:
    failed = ", ".join(f"({criterion})" for criterion in failed_criteria(verdict.reasons))
    figure = "  -  " if verdict.map50 is None else f"{verdict.map50:.3f}"
    line = f"{verdict.name:40} mAP50 {figure}  {'promoted' if verdict.promoted else 'refused ':8}  {failed:20} {note}"
    sentences = [r for r in verdict.reasons if ") failed" in r] if not verdict.promoted else []
    return "\n".join([line, *(f"    {sentence[:180]}" for sentence in sentences)])


class _Gate:
    """A registry whose champion stays the same, whatever was promoted before."""

    def __init__(self, labelled: RenderedSet, champion: Model, folder: Path) -> None:
        self.labelled, self.folder = labelled, folder
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = open_client(uri)
        self.experiment = ensure_experiment(self.client, "gate", uri, str(folder / "artifacts"))
        self.registry = ModelRegistry(tracking_uri=uri, model_name="gate-detector")
        self.serving = self._register(champion)
        self.champion = self._judge(self.serving, is_candidate=True)
        self.registry.set_tags(self.serving, self.champion.tags(thresholds=True))
        self.registry.set_champion(self.serving)

    def decide(self, fault: Fault, folder: Path) -> _Verdict:
        """Build, register, measure and decide on one candidate."""
        folder.mkdir()
        started = time.monotonic()
        version = self._register(fault.build(folder))
        if fault.after_registering is not None:
            info = self.registry.version(version)
            (stored,) = (self.folder / "artifacts").glob(f"{info.run_id}/artifacts/model-*")
            fault.after_registering(stored)
        judged = [self.champion]
        if not faults(self.registry.version(version), self._download, threads=THREADS):
            candidate = self._judge(version, is_candidate=True)
            self.registry.set_tags(version, candidate.tags(thresholds=True))
            judged = [candidate, self.champion]
        if fault.thresholds is not None:
            changed = fault.thresholds(json.loads(self.registry.version(version).tags["thresholds"]))
            self.registry.set_tags(version, {"thresholds": json.dumps(changed)})
        (outcome,) = self._desk(version, judged).carry_out(Order())
        self.registry.set_champion(self.serving)
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
        map50 = judged[0].figures()["test_map50"] if len(judged) > 1 else None
        return _Verdict(fault.name, outcome.promoted, map50, outcome.reasons)

    def _desk(self, version: str, judged: list[Judged]) -> Desk:
        info = self.registry.version(version)
        empty = pl.DataFrame(schema=DETECTOR_EVALUATION)
        history = pl.DataFrame([{"champion_version": self.serving}], schema=CHAMPION_DETECTOR)
        return Desk(
            registry=self.registry,
            history=history.with_columns(reasons=pl.lit([], pl.List(pl.String))),
            newest=version,
            judge=lambda: decide_on(
                info,
                self.registry.champion(),
                evaluation=pl.concat([empty, *(j.evaluation for j in judged)]),
                predictions=pl.concat([pl.DataFrame(schema=SPLIT_PREDICTIONS), *(j.predictions for j in judged)]),
                dataset=self.labelled.dataset,
                download=self._download,
                threads=THREADS,
                rules=PromotionRules(),
            ),
            faults=lambda version: faults(version, self._download, threads=THREADS),
            run_id=f"decision on {version}",
        )

    def _register(self, model: Model) -> str:
        run_id = self.client.create_run(self.experiment).info.run_id
        return self.registry.register(run_id, model.files, model.tags).version

    def _judge(self, version: str, *, is_candidate: bool) -> Judged:
        return judge(
            self.registry.version(version),
            self.labelled.dataset,
            download=self._download,
            predictions=SnapshotPredictions(self.labelled.dataset, self.labelled.read_photo, threads=THREADS),
            default_threshold=InventoryRules().default_threshold,
            is_candidate=is_candidate,
        )

    def _download(self, version: str, name: str) -> Path:
        return self.registry.download(version, name, self.folder / "cache")
