"""Which detector serves: decisions on candidates and by people, and the history that they make."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import Field

from mlops_assets.compute import CPU_LIGHT, RETRY
from mlops_assets.detector.deciding import Order, OrderError, Verdict
from mlops_assets.detector.schema import CHAMPION_DETECTOR
from mlops_assets.metadata import preview
from mlops_assets.use_case import UseCase
from resources.machine import Machine
from resources.mlflow import MlflowTracking
from resources.model_registry import ModelRegistry
from resources.tables import Tables

if TYPE_CHECKING:
    from mlops_assets.detector.deciding import Outcome


class ChampionConfig(dg.Config):
    """Left as it is, the rules decide on the newest candidate. Whoever decides otherwise says why and who."""

    decision: Verdict = Field(
        Verdict.judge,
        description="judge by the rules, or promote, refuse, roll_back by hand; follow_alias is a sensor's",
    )
    version: str | None = Field(None, description="of the model; empty: newest candidate, or the champion before")
    reason: str = Field("", description="why; required by hand")
    by: str = Field("", description="who decides; required by hand")
    despite: list[str] = Field([], description="failed criteria among e, f that a promotion by hand overrides")

    def order(self) -> Order:
        """As plain code takes it."""
        return Order(self.decision, self.version or None, self.reason, self.by, frozenset(self.despite))


@dg.asset(
    group_name="detector",
    kinds={"mlflow", "polars"},
    op_tags=CPU_LIGHT,
    retry_policy=RETRY,
    pool="champion",
)
def champion_detector(
    context: dg.AssetExecutionContext,
    config: ChampionConfig,
    detector_evaluation: pl.DataFrame,
    detector_weights: pl.DataFrame,
    training_dataset: pl.DataFrame,
    mlflow: MlflowTracking,
    model_registry: ModelRegistry,
    machine: Machine,
    tables: Tables,
    use_case: dg.ResourceParam[UseCase],
) -> dg.Output[pl.DataFrame]:
    """The rules' decision on the candidate, or a person's, with reasons; `champion` moves only if it is promoted."""
    from mlops_assets.detector.deciding import Desk
    from mlops_assets.detector.decision_rows import with_decisions
    from mlops_assets.detector.judging import NotMeasuredError, decide_on
    from mlops_assets.detector.snapshot import SPLIT_PREDICTIONS, snapshot_name
    from mlops_assets.detector.soundness import faults

    def download(version: str, name: str) -> Path:
        return model_registry.download(version, name, Path(machine.scratch) / "models")

    history = tables.read("champion_detector", CHAMPION_DETECTOR)
    newest = detector_weights.item(0, "model_version")
    desk = Desk(
        registry=model_registry,
        history=history,
        newest=newest,
        judge=lambda: decide_on(
            model_registry.version(newest),
            model_registry.champion(),
            evaluation=detector_evaluation,
            predictions=tables.read("detector_predictions", SPLIT_PREDICTIONS),
            dataset=training_dataset,
            download=download,
            threads=machine.threads,
            rules=use_case.promotion,
        ),
        faults=lambda version: faults(version, download, threads=machine.threads),
        run_id=context.run.run_id,
    )
    try:
        outcomes = desk.carry_out(config.order())
    except (OrderError, NotMeasuredError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    table = with_decisions(
        history,
        outcomes,
        model_registry,
        candidate=newest,
        class_boxes=detector_weights.item(0, "class_boxes"),
        snapshot=snapshot_name(training_dataset),
        run_id=context.run.run_id,
    )
    for reason in (reason for outcome in outcomes for reason in outcome.reasons):
        context.log.info(reason)
    link = {"mlflow_run": mlflow.link()} if config.decision is Verdict.judge else {}
    return dg.Output(
        table,
        data_version=dg.DataVersion(table.item(-1, "champion_version") or "none"),
        metadata=_metadata(table, outcomes) | link,
    )


def _metadata(table: pl.DataFrame, outcomes: "list[Outcome]") -> dict[str, Any]:
    """What the page of the asset shows of the last decisions."""
    champion = table.item(-1, "champion_version") or "none yet"
    if not outcomes:
        return {"champion": champion, "reasons": "as recorded before"}
    reasons = [reason for outcome in outcomes for reason in outcome.reasons]
    return {
        "promoted": outcomes[-1].promoted,
        "decision": outcomes[-1].kind.replace("_", " "),
        "champion": champion,
        "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in reasons)),
        "provisional_classes": len(outcomes[-1].provisional),
    }


@dg.asset(group_name="detector", kinds={"mlflow", "polars"}, op_tags=CPU_LIGHT, retry_policy=RETRY, pool="champion")
def champion_history(
    context: dg.AssetExecutionContext, champion_detector: pl.DataFrame, model_registry: ModelRegistry
) -> pl.DataFrame:
    """Which versions served, from when to when, why, and who said so; the latest first."""
    from mlops_assets.detector.decisions import champion_history as history_of

    history = history_of(champion_detector, {info.version: info.tags for info in model_registry.versions()})
    context.add_output_metadata({"served": history.height, "history": preview(history, rows=200)})
    return history
