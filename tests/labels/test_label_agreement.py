import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_samples import coco_text, photo_rows, put, read_drop, rectangle, task

from mlops_assets.labels.agreement import compare, match, overlap
from mlops_assets.labels.schema import LABEL_CONFLICTS

fractions = st.floats(0.1, 0.4)
named_boxes = st.lists(st.tuples(st.sampled_from(["fan", "router"]), *[fractions] * 4), max_size=5)


def test_conflicts_name_the_annotators_and_what_they_do_not_agree_on(tmp_path):
    photos = photo_rows("E/p0.jpg", "E/p1.jpg", "E/p2.jpg", "E/p3.jpg")
    same = (rectangle("fan", 10), rectangle("router", 50))
    tasks = [
        task("E/p0.jpg", *same, by="ann"),
        task("E/p0.jpg", rectangle("fan", 10.5), rectangle("switch", 50), rectangle("fan", 80), by="ben"),
        task("E/p1.jpg", *same, by="ann"),
        task("E/p1.jpg", *same, by="ben"),
        task("E/p2.jpg", *same, by="ann"),
        task("E/p3.jpg", rectangle("fan"), by="ann"),  # by the same person again: no conflict
        task("E/p3.jpg", by="ann", created_at="2026-10-08T09:00:00Z"),
    ]
    put(tmp_path / "a.json", json.dumps(tasks))
    put(tmp_path / "b.json", coco_text(["E/p2.jpg"], []))  # by nobody who is named
    conflicts = read_drop(tmp_path, photos).conflicts
    assert conflicts.schema == LABEL_CONFLICTS
    assert conflicts.rows() == [
        (
            "p0",
            ["ann", "ben"],
            pytest.approx(2 / 5),
            "at (0.55, 0.15) is router to ann and switch to ben; only ben: fan at (0.85, 0.15)",
        ),
        ("p1", ["ann", "ben"], 1.0, None),
    ]


def test_of_three_annotators_the_mean_over_pairs(tmp_path):
    fan = ("fan", 0.5, 0.5, 0.2, 0.2)
    agreement, differences = compare({"a": [fan], "b": [fan], "c": []})
    assert agreement == pytest.approx(1 / 3)
    assert differences == ["only a: fan at (0.50, 0.50)", "only b: fan at (0.50, 0.50)"]
    assert compare({"a": [], "b": []}) == (1.0, [])


@given(named_boxes, named_boxes)
def test_agreement_is_symmetric_and_whole_only_without_differences(ones, others):
    agreement, differences = compare({"a": ones, "b": others})
    assert 0 <= agreement <= 1
    assert agreement == pytest.approx(compare({"b": others, "a": ones})[0])
    assert compare({"a": ones, "b": ones}) == (1.0, [])
    assert (agreement == 1) == (differences == [])


@given(named_boxes, named_boxes)
def test_boxes_are_matched_one_to_one(ones, others):
    pairs = match(ones, others)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(overlap(ones[i], others[j]) >= 0.5 for i, j in pairs)
    assert all(overlap(a, b) == pytest.approx(overlap(b, a)) for a in ones for b in others)
