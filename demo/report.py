"""What came out of the story, scored against the renderer's truth."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from demo.state import State
from mlops_assets.catalog.score import Agreement, score
from mlops_assets.detector.champion import parse_class_map
from mlops_assets.jobs import RETRAIN_DETECTOR
from mlops_assets.photos.intake import conservation
from resources.model_registry import ModelRegistry

_TRUTH_TYPES = {"day": pl.String, "quantity": pl.Int64}


def write_summary(path: Path, state: State, truth: Path, seconds: float) -> dict[str, Any]:
    """Gather everything and write it as JSON."""
    photos = conservation(state.table("raw_photos"))
    summary = {
        "photos": {key: photos[key] for key in ("landed", "accepted", "duplicate", "quarantined")},
        "models": _models(state),
        "retrain": _retrain(state),
        "catalogue": _catalogue(state, truth),
        "pages": str(Path(state.places.pages) / "index.html"),
        "seconds": round(seconds, 1),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(summary, indent=2, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)
    return summary


def _models(state: State) -> list[dict[str, Any]]:
    tracking_uri = state.settings.fill(state.settings.mlflow_tracking_uri)
    registry = ModelRegistry(tracking_uri=tracking_uri, model_name=f"{state.use_case.name}-detector")
    decisions = state.table("champion_detector")
    models = []
    for decision in decisions.iter_rows(named=True):
        tags = registry.version(decision["model_version"]).tags
        models.append(
            {
                "version": decision["model_version"],
                "classes": list(json.loads(tags["class_map"]).values()),
                "map50": float(tags["test_map50"]),
                "map50_95": float(tags["test_map50_95"]),
                "promoted": decision["promoted"],
                "reasons": decision["reasons"],
                "seconds": float(tags["training_seconds"]),
            }
        )
    return models


def _retrain(state: State) -> dict[str, Any]:
    """The last retraining beside what served before it, on one test snapshot."""
    weights, evaluation = state.table("detector_weights"), state.table("detector_evaluation")
    test = evaluation.filter((pl.col("split") == "test") & pl.col("class_id").is_not_null())
    candidate = test.filter(pl.col("model_version") == weights.item(0, "model_version"))
    before = test.filter(pl.col("model_version") != weights.item(0, "model_version"))
    both = candidate.join(before, on="class_id", suffix="_before").drop_nulls(["ap50", "ap50_before"])
    names = parse_class_map(weights.item(0, "class_map"))
    new = candidate.join(before, on="class_id", how="anti") if before.height else candidate.clear()
    change = both.select((pl.col("ap50") - pl.col("ap50_before")).mean()).item() if both.height else None
    return {
        "triggered_by": _last_trigger(state.instance),
        "new_classes": [names[class_id] for class_id in new["class_id"]],
        "new_class_ap50": {names[class_id]: ap50 for class_id, ap50 in new.select("class_id", "ap50").iter_rows()},
        "old_macro_ap50_change": change,
    }


def _last_trigger(instance: dg.DagsterInstance) -> str | None:
    """The sensor, or else the person, that asked for the last retraining."""
    runs = instance.get_runs(dg.RunsFilter(job_name=RETRAIN_DETECTOR, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1)
    return runs[0].tags.get("dagster/sensor_name", "launched by hand") if runs else None


def _catalogue(state: State, truth: Path) -> dict[str, Any]:
    classes = state.table("equipment_classes")
    splits = state.table("split_assignments")
    # Not by the last dataset: the champion goes on from models that were trained on earlier ones.
    learnt_from = set(splits.filter(pl.col("split") != "test")["enclosure_id"])
    inventory = pl.read_csv(truth / "inventory.csv", schema_overrides=_TRUTH_TYPES)
    result = score(
        state.table("visit_inventory"),
        inventory,
        pl.read_csv(truth / "boxes.csv", schema_overrides={"day": pl.String}),
        dict(classes.select("class_id", "class_name").iter_rows()),
        never_trained=set(inventory["enclosure_id"]) - learnt_from,
    )
    held_out = result.never_trained
    return {
        "rows": state.table("equipment_catalog").height,
        **_rates(result.all_enclosures.quantity),
        "never_trained": _rates(held_out.quantity) if held_out else None,
        "details": result.as_dict(),
    }


def _rates(agreement: Agreement) -> dict[str, float | None]:
    return {"precision": agreement.precision, "recall": agreement.recall, "f1": agreement.f1}


def print_summary(summary: dict[str, Any]) -> None:
    """What a person wants to know."""
    photos, retrain, catalogue = summary["photos"], summary["retrain"], summary["catalogue"]
    print(
        f"\nPhotos      {photos['landed']} landed = {photos['accepted']} accepted + {photos['duplicate']} duplicate "
        f"+ {photos['quarantined']} quarantined"
    )
    for model in summary["models"]:
        outcome = "promoted" if model["promoted"] else "refused"
        print(
            f"Model {model['version']:>3}   {len(model['classes'])} classes, mAP50 {model['map50']:.3f} on test, "
            f"trained in {model['seconds']:.0f} s, {outcome}"
        )
    learnt = ", ".join(
        f"{name} (AP50 {ap50:.3f})" for name, ap50 in retrain["new_class_ap50"].items() if ap50 is not None
    )
    print(f"Retraining  asked for by {retrain['triggered_by']}; new: {learnt or 'none'}")
    if retrain["old_macro_ap50_change"] is not None:
        print(f"            known classes' macro AP50 changed by {retrain['old_macro_ap50_change']:+.3f}")
    for title, rates in (("all enclosures", catalogue), ("never trained on", catalogue["never_trained"])):
        print(
            f"Catalogue   {title}: "
            + ", ".join(f"{name} {rates[name]:.3f}" for name in ("precision", "recall", "f1") if rates and rates[name])
        )
    print(f"{summary['seconds']:.0f} s in all, set-up included")


def print_next(summary: dict[str, Any], path: Path) -> None:
    """Where to look next; `path` is the summary's."""
    print("\nWhere to look next")
    print(f"  {summary['pages']}  the catalogue, an enclosure a page: open it in a browser")
    print("  make ui      every run, asset and check, on Dagster's page")
    print("  make mlflow  every training with its curves and weights")
    print(f"  {path}  the figures above, and more")
