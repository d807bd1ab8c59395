"""Where lineage alone decides what is made again: champion → detections of all days → catalogue.

Conditions name other assets, so they depend on the use case's key prefix and are put on the assets when the
definitions are built. What happens outside Dagster is for sensors.
"""

from typing import Any, TypeAlias

import dagster as dg

from mlops_assets.use_case import UseCase

DAY_ASSETS = ("raw_photos", "clean_photos", "detections")
REVIEW_QUEUE = "review_queue"
CATALOGUE_ASSETS = ("visit_inventory", "equipment_catalog", "equipment_changes", "catalog_pages")

Condition: TypeAlias = dg.AutomationCondition[Any]


def conditions(use_case: UseCase) -> dict[dg.AssetKey, Condition]:
    """The condition of every asset that has one."""
    by_name = {"detections": detections_follow(use_case), REVIEW_QUEUE: queue_follows(use_case)}
    by_name |= dict.fromkeys(CATALOGUE_ASSETS, catalogue_follows(use_case))
    return {dg.AssetKey([use_case.name, name]): condition for name, condition in by_name.items()}


def detections_follow(use_case: UseCase) -> Condition:
    """Days that were looked at before are looked at again by a new champion, or after their photos were cleaned anew.

    The champion counts by its data version, which is the version that serves: a candidate that was refused asks for
    nothing. Days never looked at are left to the schedule.
    """
    condition = dg.AutomationCondition
    champion = _assets(use_case, "champion_detector")
    other_champion = condition.any_deps_match(condition.data_version_changed()).allow(champion)
    photos_updated = condition.any_deps_updated().ignore(champion)
    return (
        (other_champion | photos_updated).since_last_handled()
        & ~condition.missing()
        & ~condition.in_progress()
        & condition.all_deps_blocking_checks_passed()
    )


def catalogue_follows(use_case: UseCase) -> Condition:
    """Once for many days: when what it is made of changed and none of that is still being made.

    Only unpartitioned parents are waited for: days that were never landed are missing for ever. The champion alone
    asks for nothing, since the days that it looks at again do, which on the tick that sees it are only being asked for.
    """
    condition = dg.AutomationCondition
    champion = _assets(use_case, "champion_detector")
    return (
        condition.any_deps_updated().ignore(champion).since_last_handled()
        & ~condition.any_deps_match(condition.newly_updated()).allow(champion)
        & ~condition.any_deps_missing().ignore(_assets(use_case, *DAY_ASSETS))
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
        & _deps_checked_before_or_in_the_same_run()
    )


def queue_follows(use_case: UseCase) -> Condition:
    """Once for many days, after photos were looked at, labels came in, or a candidate was decided on.

    Nothing is waited for that may be missing for long: before there are labels or a champion the queue says what to
    label first. The tick that sees a decision only waits, since a new champion's days are being asked for on it.
    """
    condition = dg.AutomationCondition
    return (
        condition.any_deps_updated().since_last_handled()
        & ~condition.any_deps_match(condition.newly_updated()).allow(_assets(use_case, "champion_detector"))
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
        & _deps_checked_before_or_in_the_same_run(or_missing=True)
    )


def _deps_checked_before_or_in_the_same_run(*, or_missing: bool = False) -> Condition:
    """As `all_deps_blocking_checks_passed`, and also for parents that this tick asks for.

    Dagster's own waits for a first, separate run of such a parent, although the checks of the same run would hold its
    child back as well: a check that no condition asks for never counts as requested.
    """
    condition = dg.AutomationCondition
    passed = condition.all_checks_match(condition.check_passed(), blocking_only=True)
    fine = passed | condition.will_be_requested()
    return condition.all_deps_match(fine | condition.missing() if or_missing else fine)


def _assets(use_case: UseCase, *names: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey([use_case.name, name]) for name in names))


def automation_sensor(
    use_case: UseCase, interval: int, *, as_backfills: bool
) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions, but that of the review queue; running from the start.

    Args:
        use_case: Whose.
        interval: Seconds between two evaluations.
        as_backfills: Whether many days are asked for as one backfill. It fans out under the daemon's control, but
            begins and ends only when the backfill daemon looks, every 30 s; otherwise each day's run is queued at once.
    """
    return dg.AutomationConditionSensorDefinition(
        "lineage",
        target=dg.AssetSelection.all() - _assets(use_case, REVIEW_QUEUE),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval,
        emit_backfills=as_backfills,
        description="Makes detections and the catalogue again when what they come from changed.",
    )


def review_sensor(use_case: UseCase, interval: int) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the condition of the review queue, whose run is its own: the catalogue's waits for no part of it.

    Args:
        use_case: Whose.
        interval: Seconds between two evaluations.
    """
    return dg.AutomationConditionSensorDefinition(
        "review",
        target=_assets(use_case, REVIEW_QUEUE),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval,
        description="Makes the review queue again when photos, labels or the champion changed.",
    )
