import datetime as dt
import json

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.class_keys import class_key
from mlops_assets.dataset.canonical import digest_of
from mlops_assets.dataset.schema import TRAINING_DATASET
from mlops_assets.dataset.versions import active_class_map, data_yaml, fingerprint, manifest
from mlops_assets.labels.schema import EQUIPMENT_CLASSES
from resources.dataset_versions import DatasetVersions, VoidDatasetError
from resources.tombstones import Tombstone, Tombstones

side = st.floats(0, 1)
row = st.one_of(
    st.tuples(
        st.sampled_from("abc"),
        st.just("E"),
        st.sampled_from(["train", "test"]),
        st.integers(0, 3),
        side,
        side,
        side,
        side,
        st.just(4),
        st.sampled_from(["á", None]),
    ),
    st.tuples(st.sampled_from("abc"), st.just("E"), st.just("val"), *[st.none()] * 5, st.just(4), st.just("h")),
)
CLASS_MAP = {0: "battery", 7: "ventilátor"}


def table(rows):
    return pl.DataFrame(rows, schema=TRAINING_DATASET, orient="row")


@settings(deadline=None, max_examples=50)
@given(st.lists(row, max_size=8), st.randoms(use_true_random=False))
def test_the_fingerprint_does_not_depend_on_the_order_of_rows_columns_or_classes(rows, random):
    shuffled = random.sample(rows, len(rows))
    columns = random.sample(TRAINING_DATASET.names(), len(TRAINING_DATASET))
    expected = fingerprint(table(rows), CLASS_MAP, "1")
    assert fingerprint(table(shuffled).select(columns), dict(reversed(CLASS_MAP.items())), "1") == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(row, min_size=1, max_size=6), row)
def test_the_fingerprint_changes_with_rows_class_map_and_code(rows, more):
    known = {
        fingerprint(table(rows), CLASS_MAP, "1"),
        fingerprint(table([*rows, more]), CLASS_MAP, "1"),
        fingerprint(table(rows), {**CLASS_MAP, 7: "fan"}, "1"),
        fingerprint(table(rows), CLASS_MAP, "2"),
    }
    assert len(known) == 4


def test_the_fingerprint_is_the_same_everywhere_and_next_year():
    """Where this fails, every version that was ever made can no longer be opened: raise FORMAT and read both."""
    rows = [
        ("á" * 3, "E", "train", 0, 0.1, 0.2, 0.3, 0.1 + 0.2, 1, "h"),
        ("a", "E", "val", None, None, None, None, None, 1, None),
    ]
    name = fingerprint(table(rows), {0: "ventilátor"}, "code")
    assert name == "9e3047fb2290950df67c97673b4b7dba58a1195c5b516053b2b6ec48bffd8104"  # pragma: allowlist secret
    many = table([(f"p{n:05d}", "E", "train", n % 7, n / 70_000, 0.5, 0.1, 0.1, 1, "h") for n in range(70_000)])
    always = "0dfb54236e27c036093bda69295ed53956061b41074f6feb6bee627132c1fbab"  # pragma: allowlist secret
    assert digest_of(many).hex() == always
    assert digest_of(many.sample(fraction=1, shuffle=True, seed=3)).hex() == always


def test_what_cannot_be_written_down_is_refused_and_equal_numbers_are_equal():
    zero, minus = (digest_of(pl.DataFrame({"x": [value]})) for value in (0.0, -0.0))
    assert zero == minus
    assert digest_of(pl.DataFrame({"x": ["ab", "c"]})) != digest_of(pl.DataFrame({"x": ["a", "bc"]}))
    assert digest_of(pl.DataFrame({"x": [None, ""]})) != digest_of(pl.DataFrame({"x": ["", ""]}))
    with pytest.raises(ValueError, match="Column x holds NaN"):
        digest_of(pl.DataFrame({"x": [float("nan")]}))
    with pytest.raises(TypeError, match="Column x is List"):
        digest_of(pl.DataFrame({"x": [[1]]}))


def test_the_fingerprint_does_not_depend_on_memory_layout():
    rows = [("a", "E", "train", 0, 0.1, 0.2, 0.3, 0.1 + 0.2, 1, "h")]
    assert fingerprint(table(rows), {0: "x"}, "1") == fingerprint(table(rows).rechunk(), {0: "x"}, "1")
    assert len(fingerprint(table(rows), {0: "x"}, "1")) == 64


def test_data_yaml_has_stable_names_and_an_absolute_path(tmp_path):
    content = yaml.safe_load(data_yaml(tmp_path, [7, 0]))
    assert content["names"] == {0: "c0000", 1: "c0007"}
    assert content["path"] == str(tmp_path.resolve())
    assert content["val"] == "images/val"
    assert "path" not in yaml.safe_load(data_yaml(None, [0]))
    assert class_key(12345) == "c12345"


def test_only_active_classes_are_in_the_class_map():
    known = ((3, "b", "active"), (1, "a", "active"), (2, "c", "proposed"))
    rows = [{"class_id": class_id, "class_name": name, "status": status} for class_id, name, status in known]
    assert list(active_class_map(pl.DataFrame(rows, schema=EQUIPMENT_CLASSES)).items()) == [
        (1, "a"),
        (3, "b"),
    ]


def test_the_manifest_tells_what_was_trained_on():
    rows = [
        ("a", "E1", "train", 0, 0.5, 0.5, 0.1, 0.1, 1, "h"),
        ("a", "E1", "train", 7, 0.5, 0.5, 0.1, 0.1, 1, "h"),
        ("b", "E2", "train", None, None, None, None, None, 1, "h"),
        ("c", "E3", "test", 0, 0.5, 0.5, 0.1, 0.1, 1, "h"),
    ]
    told = json.loads(json.dumps(manifest(table(rows), CLASS_MAP, "1")))
    assert told["fingerprint"] == fingerprint(table(rows), CLASS_MAP, "1")
    assert told["class_map"] == {"0": "battery", "7": "ventilátor"}
    assert told["splits"]["train"] == {
        "photos": 2,
        "background_photos": 1,
        "boxes": 2,
        "boxes_by_class": {"0": 1, "7": 1},
        "enclosures": ["E1", "E2"],
    }
    assert told["splits"]["val"]["enclosures"] == []


def test_a_version_that_held_an_erased_photo_is_void_and_what_is_left_of_it_tells_of_others(tmp_path):
    versions = DatasetVersions(root=str(tmp_path))
    rows = pl.DataFrame({"photo_id": ["a" * 64, "a" * 64, "b" * 64], "split": ["train", "train", "val"]})
    versions.put("f1", rows, {"manifest.json": "{}"})
    versions.put("f2", rows[2:], {"manifest.json": "{}"})
    assert versions.restore("f1").equals(rows)
    assert versions.holding("a" * 64) == {"f1": ["train"]}
    # The tombstone alone is enough: a kill may have come before the mark.
    tombstones = Tombstones(str(tmp_path))
    tombstones.put(Tombstone("a" * 64, dt.datetime(2026, 10, 8, tzinfo=dt.UTC)))
    with pytest.raises(VoidDatasetError, match=f"f1 is void.*{'a' * 64}.json"):
        versions.restore("f1")
    assert [versions.void("f1", "a" * 64, ["train"]) for _ in range(2)] == [2, 0]
    with pytest.raises(VoidDatasetError, match=f"f1 is void.*{'a' * 64}.json"):
        versions.restore("f1")
    assert versions.restore("f2").equals(rows[2:])
    assert versions.holding("a" * 64) == {"f1": ["train"]}
    assert versions.holding("b" * 64) == {"f1": ["val"], "f2": ["val"]}
    with pytest.raises(FileNotFoundError, match="No dataset version"):
        versions.restore("f3")
