"""The job `erase_photo`: the steps of `erasing`, each in the pool of what it rewrites, so that no other step does then.

The run counts as one of `ingest_day` in the queue, so that no day is taken in beside it. What is not kept away by
either (a step that a person starts by hand, detections of many days) is caught by the IO manager and by the last step.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from mlops_assets.compute import CPU_LIGHT, RETRY
from mlops_assets.jobs import ERASE_PHOTO, INGEST_DAY, ONE_AT_A_TIME_TAG, USE_CASE_TAG
from mlops_assets.use_case import UseCase

_RESOURCES = {
    *("photo_store", "tables", "dataset_versions", "catalog_database", "model_registry"),
    *("label_drop", "pages_folder", "machine", "use_case"),
}
_RUNNING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


class ErasureConfig(dg.Config):
    """Which photo to erase."""

    photo_id: str = Field(description="SHA-256 of the uploaded file, 64 hexadecimal digits.")
    reason: str = Field(description="For the record, such as the number of a ticket; it is kept, so no names.")
    requested_by: str = Field("", description="For the record: a role or team.")
    dry_run: bool = Field(False, description="List what would be removed, and remove nothing.")
    never_ingested: bool = Field(False, description="Keep the photo out although nothing here knows it.")


def _announce(context: dg.OpExecutionContext, config: ErasureConfig) -> None:
    from mlops_assets.erasure.erasing import announce, preview
    from mlops_assets.erasure.places import Request
    from mlops_assets.erasure.report import as_markdown

    request = Request(config.photo_id, config.reason, config.requested_by, config.never_ingested)
    if config.dry_run:
        facts = preview(_places(context), request)
        context.add_output_metadata({"would_be_removed": dg.MetadataValue.md(as_markdown(facts))})
    else:
        announce(_places(context), request)


def _labels(context: dg.OpExecutionContext, photo_id: str) -> None:
    from mlops_assets.erasure.erasing import erase_labels

    erase_labels(_places(context), photo_id)


def _datasets(context: dg.OpExecutionContext, photo_id: str) -> None:
    from mlops_assets.erasure.erasing import erase_from_datasets

    erase_from_datasets(_places(context), photo_id)


def _rows(context: dg.OpExecutionContext, photo_id: str) -> None:
    from mlops_assets.erasure.erasing import erase_rows

    erase_rows(_places(context), photo_id)


def _catalogue(context: dg.OpExecutionContext, photo_id: str) -> None:
    from mlops_assets.erasure.erasing import erase_from_catalogue

    erase_from_catalogue(_places(context), photo_id)


def _files(context: dg.OpExecutionContext, photo_id: str) -> None:
    from mlops_assets.erasure.erasing import erase_files
    from mlops_assets.erasure.report import as_markdown

    record, label_drop = erase_files(_places(context), photo_id, _others_running(context))
    context.add_output_metadata(
        {
            "report": dg.MetadataValue.md(as_markdown(record)),
            "label_drop": ", ".join(label_drop) or "nothing",
        }
    )


Step = Callable[[dg.OpExecutionContext, str], None]

_STEPS: tuple[tuple[str, str | None, str, Step], ...] = (
    ("erase_labels", "labels", "Rows of labels.", _labels),
    ("erase_from_datasets", "dataset", "Dataset versions, models, MLflow's pictures.", _datasets),
    ("erase_rows", None, "Rows of every other table; the ledger's say erased.", _rows),
    ("erase_from_catalogue", "catalogue", "The catalogue, counted anew without it.", _catalogue),
    ("erase_files", None, "Original, normalised photo, uploads, events; then looks for what is left.", _files),
)


def _ops() -> list[dg.OpDefinition]:
    options: dict[str, Any] = {"required_resource_keys": _RESOURCES, "tags": CPU_LIGHT, "retry_policy": RETRY}

    @dg.op(name="announce_erasure", out=dg.Out(dg.Nothing), description="The tombstone, or a preview.", **options)
    def announce(context: dg.OpExecutionContext, config: ErasureConfig) -> None:
        _refusing(lambda: _announce(context, config))

    return [announce, *(_op(name, pool, words, step, options) for name, pool, words, step in _STEPS)]


def _op(name: str, pool: str | None, words: str, step: Step, options: dict[str, Any]) -> dg.OpDefinition:
    @dg.op(
        name=name,
        ins={"after": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool=pool,
        description=words,
        **options,
    )
    def run(context: dg.OpExecutionContext, config: ErasureConfig) -> None:
        if config.dry_run:
            context.log.info("A dry run: nothing is removed")
        else:
            _refusing(lambda: step(context, config.photo_id.strip().lower()))

    return run


def _refusing(work: Callable[[], None]) -> None:
    """What a person has to put right is not tried again."""
    from mlops_assets.erasure.places import ErasureError, ErasureIncompleteError

    try:
        work()
    except (ErasureError, ErasureIncompleteError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


ERASURE_OPS: Sequence[dg.OpDefinition] = tuple(_ops())


def build_erasure_job(use_case: UseCase) -> dg.JobDefinition:
    """The job of one use case; its configuration is `ErasureConfig` itself, with no step in between."""

    @dg.config_mapping
    def everywhere(val: ErasureConfig) -> dict[str, Any]:
        return {"ops": {op.name: {"config": val.model_dump()} for op in ERASURE_OPS}}

    @dg.graph(
        name=ERASE_PHOTO,
        description="Removes a photo for good: from landing, store, tables, labels, datasets, catalogue and events.",
    )
    def erase_photo() -> None:
        first, *others = ERASURE_OPS
        done = first()
        for op in others:
            done = op(after=done)

    tags = {USE_CASE_TAG: use_case.name, ONE_AT_A_TIME_TAG: f"{use_case.name}/{INGEST_DAY}"}
    return erase_photo.to_job(config=everywhere, tags=tags)


def _places(context: dg.OpExecutionContext) -> Any:
    from mlops_assets.erasure.places import Places
    from resources.event_log import redact

    given = context.resources
    return Places(
        photos=given.photo_store,
        tables=given.tables,
        datasets=given.dataset_versions,
        database=given.catalog_database,
        registry=given.model_registry,
        label_drop=given.label_drop.path(),
        pages=given.pages_folder.path(),
        scratch=Path(given.machine.scratch),
        use_case=given.use_case,
        redact_events=lambda texts, dry_run: redact(context.instance, texts, dry_run=dry_run),
        now=lambda: dt.datetime.now(dt.UTC),
        run_id=context.run_id,
        threads=given.machine.threads,
    )


def _others_running(context: dg.OpExecutionContext) -> list[str]:
    """Runs of this use case, and those that do not say of which they are."""
    own = context.resources.use_case.name
    runs = context.instance.get_runs(dg.RunsFilter(statuses=_RUNNING))
    return sorted(run.run_id for run in runs if run.run_id != context.run_id and run.tags.get(USE_CASE_TAG, own) == own)
