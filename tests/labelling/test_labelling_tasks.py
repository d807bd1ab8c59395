"""What a task says and suggests, what the labelling page offers, and what becomes of an annotation."""

import datetime as dt
import json

import polars as pl
import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st
from labelling_rows import CLASSES, box, classes, photo, queue, region, typed_name

from mlops_assets.labelling.interface import UNLISTED, labelling_config
from mlops_assets.labelling.plan import DOUBLED, ERASED, NOT_QUEUED, plan
from mlops_assets.labelling.returning import export_file, file_name, project_key, task_of
from mlops_assets.labelling.schema import LABEL_STUDIO_TASKS, TASK_STATES
from mlops_assets.labelling.state import as_table, row_of
from mlops_assets.labelling.tasks import wanted_tasks
from mlops_assets.labels.formats import parse_labels
from mlops_assets.labels.items import LabelFormatError, ParsedLabels

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
KEEP = dt.timedelta(days=3)


def labels_of(config: str) -> list[str]:
    return [label.attrib["value"] for label in ElementTree.fromstring(config).iter("Label")]


def wanted(*numbers: int, **more: object) -> dict:
    return wanted_tasks(queue(*numbers, **more), CLASSES, lambda photo_id: f"s3://b/{photo_id}.jpg", "champion")


def task(number: int, photo_id: str | None, **more: object) -> dict:
    empty = {"annotations": [], "drafts": [], "predictions": []}
    stamps = {"created_at": "2026-11-26T08:00:00Z", "updated_at": "2026-11-26T08:00:00Z"}
    return {"id": number, "data": {"photo_id": photo_id, "image": f"s3://b/{photo_id}.jpg"}, **stamps, **empty, **more}


def annotation(*result: dict, number: int = 1, at: str = "2026-11-26T09:00:00Z", **more: object) -> dict:
    stamps = {"created_at": at, "updated_at": at}
    return {"id": number, "completed_by": 7, "was_cancelled": False, "result": list(result), **stamps, **more}


def imported(content: bytes | None) -> ParsedLabels:
    assert content is not None
    return parse_labels("label-studio-1-x-1.json", content, LabelFormatError("no names", "name them"))


# -- the labelling page -------------------------------------------------------------------------------------------


def test_the_page_offers_classes_candidates_and_room_for_a_name() -> None:
    assert labels_of(labelling_config(CLASSES)) == ["router", "battery pack", "fan tray", UNLISTED]


def test_names_that_annotations_use_stay_on_the_page_last() -> None:
    offered = labels_of(labelling_config(CLASSES, {"splitter", "router", UNLISTED}))
    assert offered == ["router", "battery pack", "fan tray", UNLISTED, "splitter"]


def test_a_new_class_leaves_the_others_as_they_were() -> None:
    before = ElementTree.fromstring(labelling_config(CLASSES))
    after = ElementTree.fromstring(labelling_config(classes(router="active", battery_pack="active", ups="active")))
    colours = [
        {label.attrib["value"]: label.attrib["background"] for label in page.iter("Label")} for page in (before, after)
    ]
    assert {name: colours[1][name] for name in ("router", "battery pack")}.items() <= colours[0].items()
    assert len(set(colours[0].values())) == len(colours[0])


@given(st.text(min_size=1, max_size=30).filter(lambda name: name.isprintable()))
def test_any_name_can_be_a_label(name: str) -> None:
    assert name in labels_of(labelling_config(classes(router="active"), {name}))


# -- from the queue to tasks --------------------------------------------------------------------------------------


def test_a_task_says_why_and_starts_from_the_boxes_of_the_champion() -> None:
    found = wanted(1)[photo(1)]
    assert found.data["reason"].startswith("a router at 0.41")
    assert found.data["title"] == "Enclosure CAB-1 · boxes of detector version 3"
    assert found.data["model_version"] == "3"
    assert found.prediction is not None
    (suggested,) = found.prediction["result"]
    assert suggested["score"] == found.prediction["score"] == 0.8
    value = {"x": 40.0, "y": 35.0, "width": 20.0, "height": 10.0, "rotation": 0, "rectanglelabels": ["router"]}
    assert suggested["value"] == value


def test_suggestions_go_by_todays_names_and_leave_merged_classes_out() -> None:
    suggested = [box("old name", 0), box("splitter", 3), box("gone", 99)]
    found = wanted(1, suggested_boxes=suggested)[photo(1)]
    assert found.prediction is not None
    assert [each["value"]["rectanglelabels"] for each in found.prediction["result"]] == [["router"]]
    assert wanted(1, suggested_boxes=[box("gone", 99)])[photo(1)].prediction is None


def test_only_what_the_annotator_sees_changes_a_task() -> None:
    first, later = wanted(1, 2), wanted(2, 1, queued_on=dt.date(2026, 11, 26))
    assert [first[photo(n)].data["content"] for n in (1, 2)] == [later[photo(n)].data["content"] for n in (1, 2)]
    assert wanted(1, model_version="4")[photo(1)].data["content"] != first[photo(1)].data["content"]


# -- from annotations to the label drop ---------------------------------------------------------------------------


def test_the_importer_reads_what_comes_back_and_finds_the_photo_by_its_id() -> None:
    parsed = imported(export_file(task(1, photo(1), annotations=[annotation(region("router"))])))
    (labelled,) = parsed.photos
    assert (parsed.problems, labelled.annotator) == ([], "7")
    assert labelled.reference.endswith(f"{photo(1)}.jpg")
    assert labelled.boxes[0][0] == "router"
    assert labelled.boxes[0][1:] == pytest.approx((0.25, 0.4, 0.3, 0.4))
    assert labelled.annotated_at == dt.datetime(2026, 11, 26, 9, tzinfo=dt.UTC)


def test_a_typed_name_takes_the_place_of_the_label() -> None:
    results = [region(UNLISTED), typed_name("  surge   arrester "), region("router", 2)]
    parsed = imported(export_file(task(1, photo(1), annotations=[annotation(*results)])))
    assert [each[0] for each in parsed.photos[0].boxes] == ["surge arrester", "router"]


def test_an_unlisted_class_without_a_name_is_quarantined_and_becomes_no_class() -> None:
    parsed = imported(export_file(task(1, photo(1), annotations=[annotation(region(UNLISTED), region("router", 2))])))
    assert [each[0] for each in parsed.photos[0].boxes] == ["router"]
    assert [problem.remedy for problem in parsed.problems] == ["choose one class for the region"]


def test_an_empty_annotation_says_that_nothing_is_there() -> None:
    parsed = imported(export_file(task(1, photo(1), annotations=[annotation()])))
    assert [each.boxes for each in parsed.photos] == [()]


def test_drafts_and_refusals_are_no_labels() -> None:
    refused = annotation(region("router"), was_cancelled=True)
    assert export_file(task(1, photo(1), annotations=[refused], drafts=[{"result": [region("router")]}])) is None


def test_of_several_annotations_the_one_changed_last_counts() -> None:
    early = annotation(region("router"), number=1, updated_at="2026-11-26T11:00:00Z")
    late = annotation(region("fan tray"), number=2, at="2026-11-26T10:00:00Z")
    parsed = imported(export_file(task(1, photo(1), annotations=[early, late])))
    assert {
        each.boxes[0][0] for each in parsed.photos if each.annotated_at == max(p.annotated_at for p in parsed.photos)
    } == {"router"}


def test_a_file_belongs_to_one_task_of_one_project() -> None:
    here, anew = project_key(1, "2026-11-26T08:00:00"), project_key(1, "2026-11-27T08:00:00")
    assert task_of(file_name(here, 12), here) == 12
    assert task_of(file_name(anew, 12), here) is None
    assert [task_of(name, here) for name in ("coco.json", f"label-studio-{here}-x.json", "label-studio-1")] == [
        None
    ] * 3


# -- what to change -----------------------------------------------------------------------------------------------


def standing(*tasks: dict) -> pl.DataFrame:
    return as_table(row_of(each, "1-x", None, NOW) for each in tasks)


def decide(
    targets: dict, tasks: pl.DataFrame, erased: tuple[str, ...] = (), labelled: dict | None = None, hours: int = 0
):
    now = NOW + dt.timedelta(hours=hours)
    return plan(targets, tasks, erased=erased, labelled_at=labelled or {}, now=now, keep=KEEP)


def test_every_queued_photo_gets_one_task_in_the_order_of_the_queue() -> None:
    assert [each.photo_id for each in decide(wanted(2, 1), standing()).add] == [photo(2), photo(1)]


def test_begun_and_labelled_tasks_are_left_alone_whatever_the_queue_says() -> None:
    tasks = standing(
        task(1, photo(1), drafts=[{"result": []}]),
        task(2, photo(2), annotations=[annotation(region("router"))]),
        task(3, photo(3), annotations=[annotation(was_cancelled=True)]),
    )
    assert set(tasks["state"]) == {"begun", "labelled", "skipped"} == set(TASK_STATES) - {"open"}
    assert decide(wanted(1, 2, 3), tasks, hours=1000).is_empty
    assert decide(wanted(), tasks, hours=1000).is_empty


def test_an_open_task_goes_once_the_queue_has_left_it_for_a_while() -> None:
    tasks = standing(task(1, photo(1)))
    assert decide(wanted(), tasks).is_empty
    assert decide(wanted(), tasks, hours=100).delete == {1: NOT_QUEUED}


def test_a_half_made_task_and_an_outdated_one_are_made_anew() -> None:
    data = wanted(1)[photo(1)].data
    whole = task(1, photo(1), data=data, predictions=[{"id": 5}])
    assert decide(wanted(1), standing(whole)).is_empty
    assert [change[:2] for change in decide(wanted(1), standing(task(1, photo(1), data=data))).change] == [(1, ())]
    assert [change[:2] for change in decide(wanted(1, model_version="4"), standing(whole)).change] == [(1, (5,))]


def test_of_two_open_tasks_of_a_photo_one_stays() -> None:
    assert decide(wanted(), standing(task(1, photo(1)), task(2, photo(1)))).delete == {2: DOUBLED}
    begun = standing(task(1, photo(1)), task(2, photo(1), drafts=[{"result": []}]))
    assert decide(wanted(1), begun).delete == {1: DOUBLED}


def test_an_erased_photos_tasks_go_whatever_their_state_and_come_back_for_no_queue() -> None:
    tasks = standing(task(1, photo(1), annotations=[annotation(region("router"))]), task(2, photo(1)))
    decided = decide(wanted(1), tasks, erased=(photo(1),))
    assert (dict(decided.delete), decided.add) == ({1: ERASED, 2: ERASED}, ())


def test_a_labelled_photo_is_asked_for_again_only_by_a_queue_that_knows_its_labelling() -> None:
    reason = queue(1).item(0, "reason")
    labelled = task(1, photo(1), annotations=[annotation(region("router"), at="2026-11-24T09:00:00Z")])
    labelled["data"]["reason"] = reason
    tasks = standing(labelled)
    (finished,) = tasks["labelled_at"]
    other_reason = wanted(1, queued_on=dt.date(2026, 11, 24), reason="labelled before surge arrester was a class")
    assert decide(other_reason, tasks).is_empty
    assert len(decide(other_reason, tasks, labelled={photo(1): finished}).add) == 1
    later, same_day = wanted(1), wanted(1, queued_on=dt.date(2026, 11, 24))
    assert decide(later, tasks).is_empty
    assert decide(same_day, tasks, labelled={photo(1): finished}).is_empty
    assert [each.photo_id for each in decide(later, tasks, labelled={photo(1): finished}).add] == [photo(1)]


def test_tasks_that_people_made_are_not_ours() -> None:
    assert decide(wanted(), standing(task(1, None)), hours=1000).is_empty


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(TASK_STATES)), max_size=8), st.sets(st.integers(0, 3)))
def test_no_photo_has_two_unfinished_tasks_afterwards(rows: list[tuple[int, str]], asked: set[int]) -> None:
    kinds = {
        "open": {},
        "begun": {"drafts": [{"result": []}]},
        "labelled": {"annotations": [annotation()]},
        "skipped": {"annotations": [annotation(was_cancelled=True)]},
    }
    tasks = standing(*(task(number, photo(p), **kinds[state]) for number, (p, state) in enumerate(rows)))
    decided = decide(wanted(*asked), tasks)
    kept = [row for row in tasks.iter_rows(named=True) if row["task_id"] not in decided.delete]
    opened = [row["photo_id"] for row in kept if row["state"] == "open"] + [each.photo_id for each in decided.add]
    assert len(opened) == len(set(opened))
    assert set(map(photo, asked)) <= {row["photo_id"] for row in kept} | {each.photo_id for each in decided.add}
    assert not {row["state"] for row in tasks.iter_rows(named=True) if row["task_id"] in decided.delete} - {"open"}
    assert tasks.schema == LABEL_STUDIO_TASKS


def test_files_are_the_same_for_the_same_annotations() -> None:
    with_person = annotation(region("router"), completed_by={"id": 7, "email": "a person"})
    same = [export_file(task(1, photo(1), annotations=[each])) for each in (annotation(region("router")), with_person)]
    assert same[0] == same[1]
    assert "a person" not in json.dumps(json.loads(same[0] or b""))
